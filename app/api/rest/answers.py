"""How outcomes and refusals look on the wire. Never decides anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from app import ids
from app.access.rate import Allowance
from app.errors import CATALOGUE, AppError, ErrorCode, Violation
from app.ingest.event import Accepted, Duplicate, Outcome, Refused

JSON = b"application/json"
PROBLEM_JSON = b"application/problem+json"

Headers = list[tuple[bytes, bytes]]

_encode = msgspec.json.Encoder().encode


class Answer(msgspec.Struct, frozen=True):
    """A whole answer but for the headers that every one has."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: Sequence[tuple[bytes, bytes]] = ()


def error_body(
    code: ErrorCode,
    message: str,
    violations: Sequence[Violation],
    original_event_id: bytes | None = None,
) -> dict[str, Any]:
    """The one shape of every refusal (contract row 2)."""
    body: dict[str, Any] = {
        "status": "error",
        "error_code": code,
        "message": message,
        "errors": violations,
    }
    if original_event_id is not None:
        body["original_event_id"] = ids.encode(ids.EVENT_PREFIX, original_event_id)
    return body


def refusal(error: AppError | Refused, request_id: str, *, as_problem: bool = False) -> Answer:
    """The answer to a whole request that was refused; RFC 9457 where the caller asks for it."""
    original = error.original_event_id if isinstance(error, Refused) else None
    extra = error.headers if isinstance(error, AppError) else {}
    body = error_body(error.code, error.message, error.violations, original)
    body["request_id"] = request_id
    entry = CATALOGUE[error.code]
    if as_problem:
        del body["status"]
        body = {
            "type": f"urn:cdp:error:{error.code}",
            "title": entry.title,
            "status": entry.status,
            "detail": body.pop("message"),
            **body,
        }
    return Answer(
        entry.status,
        _encode(body),
        PROBLEM_JSON if as_problem else JSON,
        [(name.lower().encode(), value.encode()) for name, value in extra.items()],
    )


def accepted_or_refused(outcome: Outcome, request_id: str, *, as_problem: bool) -> Answer:
    """The answer to one event: 202, 200, or the refusal's own status."""
    if isinstance(outcome, Refused):
        return refusal(outcome, request_id, as_problem=as_problem)
    return Answer(202 if isinstance(outcome, Accepted) else 200, item_body(outcome))


def item_body(outcome: Outcome) -> bytes:
    """One event's outcome, as its own answer or as an entry of `results`."""
    if isinstance(outcome, Accepted):
        event_id = ids.encode(ids.EVENT_PREFIX, outcome.event_id).encode()
        if not outcome.warnings:
            return b'{"status":"accepted","event_id":"' + event_id + b'"}'
        warnings = _encode(outcome.warnings)
        return b'{"status":"accepted","event_id":"' + event_id + b'","warnings":' + warnings + b"}"
    if isinstance(outcome, Duplicate):
        event_id = ids.encode(ids.EVENT_PREFIX, outcome.original_event_id).encode()
        return b'{"status":"duplicate","original_event_id":"' + event_id + b'"}'
    return _encode(
        error_body(outcome.code, outcome.message, outcome.violations, outcome.original_event_id)
    )


def batch_body(outcomes: Sequence[Outcome]) -> bytes:
    """All outcomes in the order of the request, and how many of each."""
    accepted = sum(isinstance(outcome, Accepted) for outcome in outcomes)
    duplicate = sum(isinstance(outcome, Duplicate) for outcome in outcomes)
    summary = {
        "accepted": accepted,
        "duplicate": duplicate,
        "error": len(outcomes) - accepted - duplicate,
    }
    results = b",".join(map(item_body, outcomes))
    return b'{"results":[' + results + b'],"summary":' + _encode(summary) + b"}"


def rate_headers(allowance: Allowance) -> Headers:
    """For a key that may write: events a minute, what is left, seconds to the next minute."""
    return [
        (b"ratelimit-limit", b"%d" % allowance.limit),
        (b"ratelimit-remaining", b"%d" % allowance.remaining),
        (b"ratelimit-reset", b"%d" % allowance.reset_seconds),
    ]


def wants_problem(headers: Mapping[bytes, bytes]) -> bool:
    return PROBLEM_JSON in headers.get(b"accept", b"")
