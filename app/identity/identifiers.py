"""What identifies a person: the identity as sent becomes normalised identifiers.

Pure. Never decides who is who (resolution does) and never says 422 (the judge does).
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

import msgspec

from app.errors import Violation
from app.identity.contact import normal_email, normal_phone

MAX_KEY_CHARS = 255

PLACEHOLDERS = frozenset({
    "anon", "anonymous", "guest", "n.a.", "n/a", "na", "nan", "nil", "none", "null", "(null)",
    "undefined", "unknown", "test", "(not set)", "[object object]",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",  # the maximal UUID; the zero one: see _SAYS_NOTHING
    "9774d56d682e549c",  # one ANDROID_ID shared by the devices of a faulty Android 2.2
    "02:00:00:00:00:00",  # what Android and iOS say instead of their MAC address
})  # fmt: skip
"""Values, in lower case, that systems write when they do not know the person."""

NOBODYS_MAILBOXES = frozenset({
    "anonymous", "do-not-reply", "donotreply", "no-email", "no-reply", "no.reply", "no_reply",
    "noemail", "nomail", "none", "noreply", "null", "undefined", "unknown",
})  # fmt: skip
"""Local parts that are nobody's at any domain. `test@` is somebody's, except at test.com."""

REPEATED_DIGITS = 8
"""One digit this many times is a dummy ("99999999"); shorter ones are real ids ("7", "222")."""

_SAYS_NOTHING = string.punctuation + " 0"
"""A text of nothing else is a placeholder: "-", "?", "000", "+0000", the zero UUID."""
_DUMMY_PHONE = re.compile(r"\+[0-9]{1,3}?(?:([0-9])\1{6,}|123456789|1234567890|0123456789)")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


class Kind(IntEnum):
    """The kinds of identifier: a lower number is a stronger one."""

    EXTERNAL = 1
    EMAIL = 2
    PHONE = 3
    DEVICE = 4


_EXTERNAL, _EMAIL, _PHONE, _DEVICE = Kind  # Kind.EMAIL costs 0.1 µs a time

FIELDS: Mapping[Kind, str] = {
    _EXTERNAL: "externalUserId",
    _EMAIL: "email",
    _PHONE: "phone",
    _DEVICE: "deviceKey",
}
"""The wire name of each kind, below `identity`."""

_KEY_FAULT = "is not 1 to 255 characters, or has control characters or white space at an end"
_FAULTS: Mapping[Kind, str] = {
    _EXTERNAL: _KEY_FAULT,
    _EMAIL: "is not an email address",
    _PHONE: "is not one person's phone number in international form (a national one needs the"
    " source's default region)",
    _DEVICE: _KEY_FAULT,
}


class Identifier(NamedTuple):
    """One normalised identifier of a person."""

    kind: Kind
    value: str


class Identity(
    msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True, gc=False
):
    """Who it was, as sent, before any normalisation; None is a field that was left out."""

    external_user_id: str | None = None
    email: str | None = None
    phone: str | None = None
    device_key: str | None = None


class Normalised(NamedTuple):
    """What an identity is good for."""

    identifiers: tuple[Identifier, ...]
    """By priority, one of a kind at most; empty when not one field could be used."""
    violations: tuple[Violation, ...]
    """One per field that was sent and not used: warnings while an identifier is left."""


def identifiers_of(identity: Identity, default_region: str | None) -> Normalised:
    """The identifiers in an identity, and the fields that could not be used.

    default_region  the source's, for phone numbers without a country code (`normal_phone`).
    cost            1 µs a field while it is plain, up to 40 µs for one that is not.
    """
    identifiers: list[Identifier] = []
    violations: list[Violation] = []
    for kind, text in _sent(identity):
        if text is None:
            continue
        value = _value(kind, text, default_region)
        if value is None or _is_dummy(kind, value):
            violations.append(_unused(kind, text, value))
        else:
            identifiers.append(Identifier(kind, value))
    return Normalised(tuple(identifiers), tuple(violations))


def fingerprint_identity(identity: Identity, normalised: Normalised) -> dict[str, str]:
    """What of an identity takes part in the fingerprint, by wire name.

    The normalised value, so that a retry may spell it differently; of a field that could not be
    used, the text as sent.
    """
    values = {FIELDS[kind]: text for kind, text in _sent(identity) if text is not None}
    for kind, value in normalised.identifiers:
        values[FIELDS[kind]] = value
    return values


def key_flaw(text: str) -> str | None:
    """Why a text cannot be a byte-exact key (a key of REASONS), or None when it can.

    1 to 255 characters, no control characters (Unicode Cc: C0, DEL, C1), no white space at
    either end. Keys are never trimmed: two systems would trim differently.
    """
    if not 0 < len(text) <= MAX_KEY_CHARS:
        return "string_length"
    if text.isprintable():  # then the only white space in it is U+0020
        return "string_characters" if text[0] == " " or text[-1] == " " else None
    if _CONTROL.search(text) or text[0].isspace() or text[-1].isspace():
        return "string_characters"
    return None


def is_placeholder(text: str) -> bool:
    """Whether a system wrote this because it did not know the person."""
    return text.lower() in PLACEHOLDERS or (text != "" and not text.strip(_SAYS_NOTHING))


def _sent(identity: Identity) -> tuple[tuple[Kind, str | None], ...]:
    """The fields by priority."""
    return (
        (_EXTERNAL, identity.external_user_id),
        (_EMAIL, identity.email),
        (_PHONE, identity.phone),
        (_DEVICE, identity.device_key),
    )


def _value(kind: Kind, text: str, default_region: str | None) -> str | None:
    """The normalised value, or None when the text cannot be normalised."""
    if kind is _EMAIL:
        return normal_email(text)
    if kind is _PHONE:
        return normal_phone(text, default_region)
    return text if key_flaw(text) is None else None


def _is_dummy(kind: Kind, value: str) -> bool:
    """Whether a normalised value is a placeholder in the form of its kind."""
    if kind is _EMAIL:
        local, _, domain = value.rpartition("@")
        return local in NOBODYS_MAILBOXES or (
            local in PLACEHOLDERS and local == domain.partition(".")[0]
        )
    if kind is _PHONE:
        return _DUMMY_PHONE.fullmatch(value) is not None
    if len(value) >= REPEATED_DIGITS and value[0] in string.digits:
        return value == value[0] * len(value) or is_placeholder(value)
    return is_placeholder(value)


def _unused(kind: Kind, text: str, value: str | None) -> Violation:
    """Why a field was not used. "n/a" is a placeholder in a field of any kind."""
    name = FIELDS[kind]
    if value is None and not is_placeholder(text.strip()):
        message = f"identity.{name} {_FAULTS[kind]}; it was not used"
        return Violation(f"/identity/{name}", "identifier_dropped", message)
    message = f"identity.{name} holds a placeholder; it was not used"
    return Violation(f"/identity/{name}", "identifier_placeholder", message)
