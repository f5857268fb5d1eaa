"""Identities become identifiers, the same however they were typed, or a reason why not."""

from __future__ import annotations

import unicodedata

import phonenumbers
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import REASONS, Violation
from app.identity.contact import (
    library_email,
    library_phone,
    normal_email,
    normal_phone,
    plain_email,
    plain_phone,
)
from app.identity.identifiers import (
    FIELDS,
    Identifier,
    Identity,
    Kind,
    Normalised,
    fingerprint_identity,
    identifiers_of,
    key_flaw,
)

IDENTITY_FIELDS = {
    Kind.EXTERNAL: "external_user_id",
    Kind.EMAIL: "email",
    Kind.PHONE: "phone",
    Kind.DEVICE: "device_key",
}


def identity(kind: Kind, text: str) -> Identity:
    return Identity(**{IDENTITY_FIELDS[kind]: text})


def outcome(kind: Kind, text: str, region: str | None = None) -> str:
    """The identifier's value, or the code of the reason why there is none."""
    normalised = identifiers_of(identity(kind, text), region)
    if normalised.identifiers:
        assert normalised.violations == ()
        (found,) = normalised.identifiers
        assert found.kind is kind
        return found.value
    (violation,) = normalised.violations
    assert violation.path == f"/identity/{FIELDS[kind]}"
    assert violation.code in REASONS
    return violation.code


def test_identifiers_come_by_priority() -> None:
    sent = Identity(
        device_key="d-1", phone="+4930123456", email="Jane@Example.com", external_user_id="L-1"
    )
    assert identifiers_of(sent, None) == Normalised(
        identifiers=(
            Identifier(Kind.EXTERNAL, "L-1"),
            Identifier(Kind.EMAIL, "jane@example.com"),
            Identifier(Kind.PHONE, "+4930123456"),
            Identifier(Kind.DEVICE, "d-1"),
        ),
        violations=(),
    )
    assert Kind.EXTERNAL < Kind.EMAIL < Kind.PHONE < Kind.DEVICE


def test_a_field_that_cannot_be_used_is_reported_beside_those_that_can() -> None:
    sent = Identity(external_user_id="n/a", email="jane@", phone="12", device_key="d-1")
    assert identifiers_of(sent, None) == Normalised(
        identifiers=(Identifier(Kind.DEVICE, "d-1"),),
        violations=(
            Violation(
                "/identity/externalUserId",
                "identifier_placeholder",
                "identity.externalUserId holds a placeholder; it was not used",
            ),
            Violation(
                "/identity/email",
                "identifier_dropped",
                "identity.email is not an email address; it was not used",
            ),
            Violation(
                "/identity/phone",
                "identifier_dropped",
                "identity.phone is not one person's phone number in international form (a"
                " national one needs the source's default region); it was not used",
            ),
        ),
    )


def test_an_identity_without_a_field_has_no_identifiers_and_no_violations() -> None:
    assert identifiers_of(Identity(), "DE") == Normalised((), ())


# Keys: external user id and device


@pytest.mark.parametrize("kind", [Kind.EXTERNAL, Kind.DEVICE])
@pytest.mark.parametrize(
    "text",
    ["L-123456789", "l-123456789", "7", "222", "42", "x" * 255, "naïve", "nai\u0308ve", "a b",
     "🧾", "a@b.co", "anonymous-7", "test1", "1234567890", "9999991"],
)  # fmt: skip
def test_keys_are_kept_byte_by_byte(kind: Kind, text: str) -> None:
    assert outcome(kind, text) == text


@pytest.mark.parametrize("kind", [Kind.EXTERNAL, Kind.DEVICE])
@pytest.mark.parametrize(
    "text",
    ["", " ", "x" * 256, " L-1", "L-1 ", "L-1\n", "\u00a0L-1", "L-1\u3000", "a\tb", "a\x7fb",
     "a\x85b", "a\x00b"],
)  # fmt: skip
def test_keys_that_are_no_keys_are_dropped(kind: Kind, text: str) -> None:
    assert outcome(kind, text) == "identifier_dropped"


@pytest.mark.contract("4.18: placeholders never link")
@pytest.mark.parametrize("kind", [Kind.EXTERNAL, Kind.DEVICE])
@pytest.mark.parametrize(
    "text",
    ["anonymous", "ANONYMOUS", "n/a", "N/A", "na", "none", "None", "null", "NULL", "(null)",
     "undefined", "unknown", "test", "Guest", "nan", "[object Object]", "0", "000", "00000000",
     "00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}", "-", "--",
     "?", "...", "*****", "99999999", "1111111111",
     "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "9774d56d682e549c", "02:00:00:00:00:00"],
)  # fmt: skip
def test_placeholders_never_become_identifiers(kind: Kind, text: str) -> None:
    assert outcome(kind, text) == "identifier_placeholder"


@given(st.text(max_size=4) | st.builds("{}{}".format, st.text(max_size=3), st.just("x" * 253)))
def test_a_key_has_no_flaw_exactly_when_all_its_characters_are_allowed(text: str) -> None:
    legal = (
        1 <= len(text) <= 255
        and text == text.strip()
        and not any(unicodedata.category(character) == "Cc" for character in text)
    )
    assert (key_flaw(text) is None) == legal


# Emails


@pytest.mark.contract("4.18: normalisation")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("customer@example.com", "customer@example.com"),
        (" Customer@EXAMPLE.com\n", "customer@example.com"),
        ("first.last+tag@gmail.com", "first.last+tag@gmail.com"),
        ("o'brien_!#$%@sub.example.co.uk", "o'brien_!#$%@sub.example.co.uk"),
        ("jane@bücher.example.com", "jane@xn--bcher-kva.example.com"),
        ("jane@BÜCHER.example.com", "jane@xn--bcher-kva.example.com"),
        ("jane@xn--bcher-kva.example.com", "jane@xn--bcher-kva.example.com"),
        ("jane@bu\u0308cher.example.com", "jane@xn--bcher-kva.example.com"),
        ("jane@例え.jp", "jane@xn--r8jz45g.jp"),
        ("JÖRG@example.com", "jörg@example.com"),
        ("jo\u0308rg@example.com", "jörg@example.com"),
        ("a@b--c.com", "a@b--c.com"),
        ("test@example.com", "test@example.com"),
        ("guest@hotel.com", "guest@hotel.com"),
        ("na@gmail.com", "na@gmail.com"),
    ],
)
def test_emails_come_in_one_form(text: str, value: str) -> None:
    assert outcome(Kind.EMAIL, text) == value
    assert outcome(Kind.EMAIL, value) == value


@pytest.mark.parametrize(
    "text",
    ["", " ", "jane", "jane@", "@example.com", "jane@example", "jane@localhost", "a@b.test",
     "jane@@example.com", "a b@example.com", "jane@exa mple.com", ".jane@example.com",
     "jane..doe@example.com", "jane@-example.com", "jane@example.c0", "jane@ab--cd.com",
     "Jane <jane@example.com>", '"jane"@example.com', "jane@[127.0.0.1]", "jane@example.com.",
     "x" * 250 + "@example.com", "a@" + "x" * 64 + ".com", "a@" + "ü" * 200 + ".com",
     "jane\u0000@example.com"],
)  # fmt: skip
def test_what_is_no_email_address_is_dropped(text: str) -> None:
    assert outcome(Kind.EMAIL, text) == "identifier_dropped"


@pytest.mark.parametrize(
    "text",
    ["noreply@example.com", "No-Reply@Shop.com", "donotreply@example.com", "none@none.com",
     "none@example.com", "null@example.com", "unknown@unknown.org", "anonymous@example.com",
     "test@test.com", "TEST@Test.com", "na@na.com", "guest@guest.de", "n/a", "None", "-", "0",
     " n/a "],
)  # fmt: skip
def test_nobodys_mailbox_is_a_placeholder(text: str) -> None:
    assert outcome(Kind.EMAIL, text) == "identifier_placeholder"


atoms = st.text("abcXYZ019.-+_'@!#", max_size=10)
labels = st.text("abcXYZ019-", min_size=1, max_size=8)
endings = st.sampled_from(["com", "CO", "museum", "test", "Local", "c", "x1", "arpa", "xn--p1ai"])
addresses = st.one_of(
    st.emails(),
    st.builds("{}@{}.{}".format, atoms, labels, endings),
    st.builds("{}@{}.{}.{}".format, atoms, labels, labels, endings),
    st.builds("{}@{}.com".format, st.text("ab", min_size=60, max_size=260), labels),
    st.builds("a@{}.com".format, st.text("ab-", min_size=60, max_size=66)),
    st.text("ab@.- \u212aÄ", max_size=12),
)


@given(addresses)
@settings(max_examples=300)
def test_the_short_way_for_emails_gives_the_librarys_answer_or_none(text: str) -> None:
    try:
        address = validate_email(text, check_deliverability=False)
        local = unicodedata.normalize("NFC", address.local_part.lower())
        expected = f"{local}@{address.ascii_domain}"
    except EmailNotValidError:
        expected = None
    assert library_email(text) == expected
    assert plain_email(text) in (None, expected)


@given(addresses)
def test_a_normal_email_is_its_own_normal_form(text: str) -> None:
    value = normal_email(text)
    assert value is None or normal_email(value) == value


def test_ordinary_emails_do_not_need_the_library() -> None:
    for text in ("customer@example.com", "First.Last+tag@sub.example.co.uk", "a@b-c.io"):
        assert plain_email(text) == text.lower()


# Phones


@pytest.mark.contract("4.18: normalisation")
@pytest.mark.parametrize(
    ("text", "region", "value"),
    [
        ("+4930123456", None, "+4930123456"),
        ("+49 (0)30 / 123-456", None, "+4930123456"),
        ("tel:+49-30-123456", None, "+4930123456"),
        ("030 123456", "DE", "+4930123456"),
        ("0049 30 123456", "DE", "+4930123456"),
        (" +49 30 123456 ", "US", "+4930123456"),
        ("+1 (555) 123-4567", None, "+15551234567"),
        ("(650) 253-0000", "US", "+16502530000"),
        ("1-800-FLOWERS", "US", "+18003569377"),
        ("+39 06 6982 0000", None, "+390669820000"),
        ("+44 7777 777771", None, "+447777777771"),
        ("+49 30 1111111", None, "+49301111111"),
        ("+800 1234 5678", None, "+80012345678"),
        ("\uff0b\uff14\uff19 30 123456", None, "+4930123456"),
    ],
)
def test_phones_come_in_e164(text: str, region: str | None, value: str) -> None:
    assert outcome(Kind.PHONE, text, region) == value
    assert outcome(Kind.PHONE, value, region) == value


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("", None),
        ("jane", None),
        ("030 123456", None),
        ("0049 30 123456", None),
        ("4930123456", None),
        ("030 123456", "XX"),
        ("110", "DE"),
        ("253-0000", "US"),
        ("+49", None),
        ("+1 650 253", None),
        ("+1 650 253 00000", None),
        ("+999 123456789", None),
        ("+49 30 123456 ext. 12", None),
        ("+49 30 123456;ext=12", None),
        ("+" + "4" * 300, None),
    ],
)
def test_what_is_no_possible_number_of_one_person_is_dropped(text: str, region: str | None) -> None:
    assert outcome(Kind.PHONE, text, region) == "identifier_dropped"


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("000", None),
        ("+0000000000", None),
        ("0", "DE"),
        ("+00 000-000", "DE"),
        ("+1 111 111 1111", None),
        ("(555) 555-5555", "US"),
        ("+49 99999999", None),
        ("+1 123 456 7890", None),
        ("n/a", "US"),
        ("unknown", None),
        ("-", None),
    ],
)
def test_dummy_numbers_are_placeholders(text: str, region: str | None) -> None:
    assert outcome(Kind.PHONE, text, region) == "identifier_placeholder"


samples = [
    number
    for region in sorted(phonenumbers.SUPPORTED_REGIONS)
    for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE)
    if (number := phonenumbers.example_number_for_type(region, kind)) is not None
]
written = st.sampled_from(samples).map(
    lambda number: phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
)
phones = st.one_of(
    written,
    st.builds(lambda text, at, more: text[:at] + more + text[at:],
              written, st.integers(1, 6), st.text("0123456789", max_size=2)),
    st.builds(lambda text, cut: text[:-cut], written, st.integers(1, 4)),
    st.integers(1, 10**15).map("+{}".format),
    st.text("+0123456789 -()", max_size=16),
)  # fmt: skip


def by_library(text: str, region: str | None) -> str | None:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    possible = phonenumbers.is_possible_number_with_reason(number)
    if number.extension or possible != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@given(phones, st.sampled_from([None, "DE", "US", "IT", "AR", "CA"]))
@settings(max_examples=500)
def test_the_short_way_for_phones_gives_the_librarys_answer_or_none(
    text: str, region: str | None
) -> None:
    expected = by_library(text, region)
    assert library_phone(text, region) == expected
    assert plain_phone(text) in (None, expected)
    assert normal_phone(text, region) == expected


def test_the_short_way_knows_nearly_every_countrys_numbers() -> None:
    texts = [phonenumbers.format_number(n, phonenumbers.PhoneNumberFormat.E164) for n in samples]
    assert sum(plain_phone(text) == text for text in texts) / len(texts) > 0.8


# What takes part in the fingerprint


def test_the_fingerprint_sees_normalised_values_and_the_raw_text_of_unusable_ones() -> None:
    sent = Identity(external_user_id="n/a", email=" Jane@Example.COM", phone="call me")
    assert fingerprint_identity(sent, identifiers_of(sent, None)) == {
        "externalUserId": "n/a",
        "email": "jane@example.com",
        "phone": "call me",
    }


def test_a_retry_that_spells_its_identity_differently_has_the_same_fingerprint() -> None:
    first = Identity(email="Jane@Bücher.example.com", phone="030 123456")
    second = Identity(email="jane@xn--bcher-kva.example.com ", phone="+49 30 123456")
    assert fingerprint_identity(first, identifiers_of(first, "DE")) == fingerprint_identity(
        second, identifiers_of(second, "DE")
    )
