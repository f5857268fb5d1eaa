"""Which properties are probably personal data, by their names alone. Pure; a guess for a person to
confirm, never a decision."""

from __future__ import annotations

import re

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

_DIRECT = frozenset({
    "address", "birth", "birthdate", "birthday", "dob", "email", "firstname", "fullname", "iban",
    "lastname", "mail", "mobile", "msisdn", "passport", "phone", "ssn", "street", "surname",
    "telephone", "username",
})  # fmt: skip
_WHOSE_NAME = frozenset({
    "contact", "customer", "family", "first", "full", "given", "last", "middle", "user",
})  # fmt: skip
"""Before "name": a product's name is nobody's."""
_INDIRECT = frozenset({
    "age", "city", "cookie", "device", "gender", "imei", "ip", "lat", "latitude", "lng", "lon",
    "longitude", "nationality", "postal", "postcode", "sex", "zip",
})  # fmt: skip


def pii_class(name: str) -> str:
    """One of `spec.PII_CLASSES`, for a property of this name."""
    words = {word.lower() for word in _WORD.findall(name)}
    words |= {word.removesuffix("s") for word in words}
    if "ip" in words:  # an ip_address leads to a household, not to a person
        return "indirect"
    if words & _DIRECT or ("name" in words and words & _WHOSE_NAME):
        return "direct"
    return "indirect" if words & _INDIRECT else "none"
