"""The examples of the OpenAPI document. Bodies come from `answers`, so their shape cannot drift."""

from __future__ import annotations

from typing import Any

import msgspec

from app.api.rest.answers import batch_body, item_body, refusal
from app.errors import ErrorCode, Violation, summarise
from app.ingest.decode import IDENTITY_REQUIRED, MAX_EVENT_BYTES
from app.ingest.event import Accepted, Duplicate, Outcome, Refused
from app.ingest.split import MAX_BATCH_ITEMS

EVENT: dict[str, Any] = {
    "source": "brand.pos",
    "externalEventId": "txn_987654321",
    "eventType": "purchase_completed",
    "occurredAt": "2026-05-20T12:45:00Z",
    "identity": {"externalUserId": "L-123456789", "email": "customer@example.com"},
    "properties": {
        "order_id": "order_42",
        "amount": 120.50,
        "currency": "USD",
        "store_id": "store_42",
    },
}
"""The contract's example, word for word."""

BATCH: dict[str, Any] = {"items": [EVENT | {"externalEventId": "txn_987654322"}, EVENT]}

_EVENT_ID = bytes.fromhex("74d63a1f0c5e4b7e9a3d2b8c6f10e594")
_NEXT_EVENT_ID = bytes.fromhex("0b9e57c2a46d4f318e75d0c9421ab6f3")
_REQUEST_ID = "req_5f0c2a9be4d17386"


def _refused(code: ErrorCode, *found: Violation) -> Refused:
    return Refused(code, found, summarise(found))


def _plain(code: ErrorCode, message: str) -> Refused:
    return Refused(code, (), message)


_IDENTITY_MISSING = _refused(
    ErrorCode.VALIDATION_FAILED, Violation("/identity", "identity_required", IDENTITY_REQUIRED)
)
_FAULT = _plain(ErrorCode.INTERNAL_ERROR, "a fault of the service")

_OF_AN_EVENT = (
    _refused(ErrorCode.MALFORMED_JSON, Violation("", "json_syntax", "not valid JSON")),
    _refused(
        ErrorCode.FORBIDDEN,
        Violation("/source", "source_not_allowed", "the key may not write for this source"),
    ),
    Refused(
        ErrorCode.IDEMPOTENCY_CONFLICT,
        (Violation("/properties/amount", "content_differs", "differs from the first delivery"),),
        "another fact was already delivered under this source and externalEventId",
        _EVENT_ID,
    ),
    Refused(ErrorCode.EVENT_ERASED, (), "the event of this externalEventId was erased", _EVENT_ID),
    _plain(ErrorCode.SUBJECT_SUPPRESSED, "this person's data must not be collected"),
    _refused(
        ErrorCode.PAYLOAD_TOO_LARGE,
        Violation("", "size", f"an event may have {MAX_EVENT_BYTES} bytes; this one has 300000"),
    ),
    _refused(
        ErrorCode.VALIDATION_FAILED,
        Violation("/occured_at", "field_unknown", "an event has no such field", "occurredAt"),
        Violation("/properties/order_id", "property_missing", "a required property is missing"),
    ),
)
"""What can be wrong with one event, alone or as an item."""

_OF_A_BATCH = (
    _refused(
        ErrorCode.MALFORMED_JSON, Violation("", "json_syntax", "the array of items is broken")
    ),
    _refused(
        ErrorCode.FORBIDDEN,
        Violation("", "scope_missing", "the key lacks the scope events:write"),
    ),
    _refused(
        ErrorCode.PAYLOAD_TOO_LARGE,
        Violation("/items", "size", f"a batch may have {MAX_BATCH_ITEMS} items; this one has 2500"),
    ),
    _refused(
        ErrorCode.VALIDATION_FAILED, Violation("/items", "field_missing", "items is required")
    ),
)

_OF_ANY_REQUEST = (
    _plain(ErrorCode.UNAUTHORIZED, "the API key is unknown, expired or revoked"),
    _plain(ErrorCode.METHOD_NOT_ALLOWED, "events are sent by POST"),
    _plain(
        ErrorCode.UNSUPPORTED_MEDIA_TYPE, "the body must be sent as Content-Type: application/json"
    ),
    _plain(ErrorCode.RATE_LIMITED, "over the limit of 3000000 events a minute"),
    _FAULT,
    _plain(ErrorCode.UNAVAILABLE, "the queue is full; try again with the same externalEventId"),
)

SINGLE_REFUSALS = (*_OF_ANY_REQUEST, *_OF_AN_EVENT)
BATCH_REFUSALS = (*_OF_ANY_REQUEST, *_OF_A_BATCH)
"""One example of every error that the endpoint gives to a whole request."""

ITEM_REFUSALS = (*_OF_AN_EVENT, _FAULT)
"""One example of every error that an item of a batch can have."""


def refusal_body(refused: Refused, *, as_problem: bool) -> Any:
    return msgspec.json.decode(refusal(refused, _REQUEST_ID, as_problem=as_problem).body)


def accepted_answers() -> dict[str, Any]:
    dropped = Violation(
        "/identity/email",
        "identifier_dropped",
        "identity.email is not an email address; it was not used",
    )
    return {
        "accepted": _item(Accepted(_EVENT_ID)),
        "accepted_with_a_warning": _item(Accepted(_EVENT_ID, (dropped,))),
    }


def duplicate_answers() -> dict[str, Any]:
    return {"duplicate": _item(Duplicate(_EVENT_ID))}


def batch_answers() -> dict[str, Any]:
    mixed: list[Outcome] = [Accepted(_NEXT_EVENT_ID), Duplicate(_EVENT_ID), _IDENTITY_MISSING]
    return {
        "mixed": msgspec.json.decode(batch_body(mixed)),
        "every_error_of_an_item": msgspec.json.decode(batch_body(ITEM_REFUSALS)),
    }


def _item(outcome: Outcome) -> Any:
    return msgspec.json.decode(item_body(outcome))
