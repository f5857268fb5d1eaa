"""Emails and phone numbers in their one normal form.

An ordinary value takes a short exact path; the library decides about every other one, behind a
bounded cache. Never asks the network whether an address or a number exists.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from phonenumbers import NumberParseException, PhoneMetadata, PhoneNumberFormat, ValidationResult

MAX_EMAIL_CHARS = 254
"""RFC 5321 4.5.3.1.3. The library refuses longer ones; it is not asked."""
MAX_PHONE_CHARS = 250
"""The library refuses longer ones; it is not asked."""
CACHED_RESULTS = 50_000
"""Per library and process, some 10 MB each when full. A library call takes 25 µs, a hit 0.1."""

_PLAIN_EMAIL = re.compile(
    r"[a-zA-Z0-9_!#$%&'*+\-/=?^`{|}~]+(?:\.[a-zA-Z0-9_!#$%&'*+\-/=?^`{|}~]+)*"
    r"@(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)+([a-zA-Z]{2,63})"
)
_LONG_LABEL = re.compile(r"@.*[^.\u3002\uff0e\uff61]{64}", re.DOTALL)
"""More than the 63 octets of RFC 1035; the library would take 20 ms to find that out."""
_SPECIAL_TLDS = frozenset({"arpa", "invalid", "local", "localhost", "onion", "test"})
_PLAIN_PHONE = re.compile(r"\+([1-9][0-9]{6,14})")
_NO_PREFIX = r"(?!)"


def normal_email(text: str) -> str | None:
    """Trimmed, NFC, lower case, domain in ASCII (IDNA); None when it is no email address.

    Dots and plus tags stay: what they mean is the mail provider's business.
    cost  1 µs for an ordinary address, 40 µs for another one that is new.
    """
    trimmed = text.strip()
    value = plain_email(trimmed)
    if value is not None or "@" not in trimmed:
        return value
    composed = unicodedata.normalize("NFC", trimmed)
    if len(composed) > MAX_EMAIL_CHARS or _LONG_LABEL.search(composed):
        return None
    return library_email(composed)


def normal_phone(text: str, default_region: str | None) -> str | None:
    """The number in E.164; None when it is no possible number, or one with an extension.

    default_region  ISO 3166 code in capitals for a number without a country code; None: only
                    the international form ("+49…") is understood.
    A *possible* length is enough. Asking for a *valid* number would lose the customers of every
    range assigned after the library's release. A switchboard with an extension has no E.164
    form, and without the extension colleagues would become one person.
    cost  1 µs for a number in E.164, 30 µs for another one that is new.
    """
    value = plain_phone(text)
    if value is not None or len(text) > MAX_PHONE_CHARS:
        return value
    return library_phone(text, default_region)


def is_phone_region(text: str) -> bool:
    """Whether phonenumbers knows this ISO 3166 code in capitals."""
    return text in phonenumbers.SUPPORTED_REGIONS


def plain_email(text: str) -> str | None:
    """The normal form of an ordinary ASCII address; None: ask the library.

    Gives the library's answer or none at all (held by a property test).
    """
    match = _PLAIN_EMAIL.fullmatch(text)
    if match is None or len(text) > MAX_EMAIL_CHARS or "--" in text:
        return None
    return None if match[1].lower() in _SPECIAL_TLDS else text.lower()


@lru_cache(CACHED_RESULTS)
def library_email(text: str) -> str | None:
    """What email-validator says: the normal form, or None."""
    try:
        address = validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        return None
    if address.local_part is None or address.ascii_domain is None:
        return None
    return f"{unicodedata.normalize('NFC', address.local_part.lower())}@{address.ascii_domain}"


def plain_phone(text: str) -> str | None:
    """A number that is in E.164 already; None: ask the library.

    Gives the library's answer or none at all (held by a property test). The library strips a
    national prefix even behind the country code, hence the look into the numbering plan.
    """
    match = _PLAIN_PHONE.fullmatch(text)
    if match is None:
        return None
    digits = match[1]
    for width in (1, 2, 3):
        plan = _numbering_plan(int(digits[:width]))
        if plan is not None:
            prefix, lengths = plan
            national = digits[width:]
            plain = len(national) in lengths and national[0] != "0" and not prefix.match(national)
            return text if plain else None
    return None


@lru_cache(CACHED_RESULTS)
def library_phone(text: str, default_region: str | None) -> str | None:
    """What phonenumbers says: E.164, or None."""
    try:
        number = phonenumbers.parse(text, default_region)
    except NumberParseException:
        return None
    if number.extension is not None:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


@cache
def _numbering_plan(country_code: int) -> tuple[re.Pattern[str], frozenset[int]] | None:
    """The national prefix and the possible lengths behind a country code; 999 at most."""
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(country_code)
    if regions is None:
        return None
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(country_code, regions[0])
    if metadata is None or metadata.general_desc is None:
        return None
    prefix = re.compile(metadata.national_prefix_for_parsing or _NO_PREFIX)
    return prefix, frozenset(metadata.general_desc.possible_length)
