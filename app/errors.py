"""What can be refused and how it is said: the closed catalogue behind docs/errors.md.

Expected refusals of one event are values (`Violation`); an `AppError` refuses a whole request.
Never carries a value that was sent: values can be personal data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

MAX_VIOLATIONS = 50
"""How many violations one answer lists at most (contract row 2)."""


class ErrorCode(StrEnum):
    """`error_code` of an answer. The set is closed: integrators switch on it."""

    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    EVENT_ERASED = "event_erased"
    SUBJECT_SUPPRESSED = "subject_suppressed"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    MALFORMED_JSON = "malformed_json"
    VALIDATION_FAILED = "validation_failed"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    INTERNAL_ERROR = "internal_error"


class CatalogueEntry(msgspec.Struct, frozen=True):
    """One row of docs/errors.md. `retry` tells the caller what a second attempt would bring."""

    status: int
    title: str
    retry: str


CATALOGUE: Mapping[ErrorCode, CatalogueEntry] = {
    ErrorCode.UNAUTHORIZED: CatalogueEntry(
        401, "The API key is missing, unknown, expired or revoked", "with another key"
    ),
    ErrorCode.FORBIDDEN: CatalogueEntry(
        403,
        "The API key may not do this (scope, source or event type)",
        "with a key that is allowed to",
    ),
    ErrorCode.NOT_FOUND: CatalogueEntry(404, "There is nothing at this address", "no"),
    ErrorCode.METHOD_NOT_ALLOWED: CatalogueEntry(
        405, "This address does not take this method", "with a method that `Allow` names"
    ),
    ErrorCode.IDEMPOTENCY_CONFLICT: CatalogueEntry(
        409,
        "This source has already delivered another fact under this externalEventId",
        "no: the first delivery stands; a different fact needs an externalEventId of its own",
    ),
    ErrorCode.EVENT_ERASED: CatalogueEntry(
        409, "The event of this externalEventId was erased and is not taken again", "no"
    ),
    ErrorCode.SUBJECT_SUPPRESSED: CatalogueEntry(
        409, "This person's data must not be collected", "no"
    ),
    ErrorCode.PAYLOAD_TOO_LARGE: CatalogueEntry(
        413, "The body, the batch or the event is over its limit", "in smaller parts"
    ),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: CatalogueEntry(
        415, "The body is not JSON, or its Content-Encoding is not gzip or zstd", "as JSON"
    ),
    ErrorCode.MALFORMED_JSON: CatalogueEntry(400, "The body is not valid JSON", "once mended"),
    ErrorCode.VALIDATION_FAILED: CatalogueEntry(
        422,
        "The event breaks the contract; `errors` lists every reason",
        "once mended, with the same externalEventId",
    ),
    ErrorCode.RATE_LIMITED: CatalogueEntry(
        429, "The key or its tenant is over its events per minute", "after `Retry-After`"
    ),
    ErrorCode.UNAVAILABLE: CatalogueEntry(
        503,
        "Overloaded, or the database is away: nothing was promised",
        "after `Retry-After`, with the same externalEventId",
    ),
    ErrorCode.INTERNAL_ERROR: CatalogueEntry(
        500,
        "A fault of the service, logged under the request id",
        "with the same externalEventId",
    ),
}


REASONS: Mapping[str, str] = {
    # the envelope
    "json_syntax": "not valid JSON",
    "json_encoding": "not valid UTF-8, or half of a surrogate pair",
    "nesting_too_deep": "objects and arrays are nested more than 32 deep",
    "nul_character": "a string or a name contains the NUL character",
    "number_out_of_range": "a number outside ±1e308, or of more than 400 digits",
    "size": "the item is over its size limit",
    "field_missing": "a required field is missing",
    "field_type": "a field has the wrong JSON type",
    "field_unknown": "a field that the envelope does not have",
    "string_length": "shorter or longer than allowed",
    "string_characters": "control characters, or white space at either end",
    "timestamp_format": "not an ISO 8601 date and time",
    "timestamp_offset_missing": "no UTC offset (`Z` or ±hh:mm)",
    "timestamp_too_old": "before 2000-01-01",
    "timestamp_in_future": "more than 24 hours ahead",
    # identity
    "identity_required": "no identity field was sent",
    "identifier_invalid": "not one identity field could be used",
    # registry
    "event_type_unregistered": "no such event type is registered",
    "event_type_retired": "the event type is retired",
    "property_missing": "a required property is missing",
    "property_unknown": "a property that the event type does not have",
    "property_type": "wrong JSON type (there is no coercion)",
    "property_enum": "not one of the registered values",
    "property_const": "not the registered value",
    "property_minimum": "below the minimum",
    "property_maximum": "above the maximum",
    "property_exclusive_minimum": "not above the exclusive minimum",
    "property_exclusive_maximum": "not below the exclusive maximum",
    "property_multiple_of": "not a multiple of the registered step",
    "property_min_length": "shorter than allowed",
    "property_max_length": "longer than allowed",
    "property_pattern": "does not match the registered pattern",
    "property_format": "does not have the registered format",
    "property_min_items": "fewer items than allowed",
    "property_max_items": "more items than allowed",
    "property_unique_items": "items are not unique",
    "property_min_properties": "fewer members than allowed",
    "property_max_properties": "more members than allowed",
    "property_invalid": "breaks another rule of the event type's schema",
    # access
    "scope_missing": "the key lacks the scope",
    "source_not_allowed": "the key is limited to other sources",
    "event_type_not_allowed": "the key is limited to other event types",
    "source_disabled": "the source is switched off",
    "source_limit_reached": "the tenant has as many sources as it may have",
    # collisions
    "content_differs": "differs from what was first delivered under this key",
    # warnings on accepted events
    "occurred_at_ahead": "occurredAt is more than 5 minutes ahead of the service's clock",
    "identifier_dropped": "an identity field could not be normalised and was not used",
    "identifier_placeholder": "an identity field holds a placeholder and was not used",
    "property_stripped": "an unknown property was left out of the stored event",
    "event_type_deprecated": "the event type is deprecated",
    "version_superseded": "judged by an older version that is still in its grace window",
}
"""`errors[].code` and `warnings[].code`: the finer reason, one sentence each."""


class Violation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One reason, at one place: an entry of `errors` or of `warnings`."""

    path: str
    """JSON Pointer (RFC 6901) into the event as it was sent; "" is the whole of it."""
    code: str
    """A key of `REASONS`."""
    message: str
    did_you_mean: str | None = None
    """A registered name close to the unknown one."""


class AppError(Exception):
    """Refuses a whole request. Translated into an answer in one place, app/api/rest/errors.py."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        violations: Sequence[Violation] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.violations = violations[:MAX_VIOLATIONS]
        self.headers = headers or {}


def summarise(violations: Sequence[Violation]) -> str:
    """The one-line `message` of an answer that lists these violations."""
    first = violations[0].message
    return first if len(violations) == 1 else f"{first} (and {len(violations) - 1} more)"
