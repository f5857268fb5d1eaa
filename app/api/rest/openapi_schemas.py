"""The JSON Schemas and headers of the OpenAPI document: data, built from the limits in force."""

from __future__ import annotations

from typing import Any

from app.errors import MAX_VIOLATIONS, REASONS, ErrorCode
from app.identity.identifiers import FIELDS, MAX_KEY_CHARS
from app.ingest.decode import MAX_EVENT_BYTES, MAX_IDENTITY_CHARS
from app.ingest.split import MAX_BATCH_ITEMS

Schema = dict[str, Any]

_INNER = r"\u0000-\u001f\u007f-\u009f"
_KEY_PATTERN = rf"^[^\s{_INNER}]([^{_INNER}]*[^\s{_INNER}])?$"
"""No control character (Unicode Cc), no white space at either end."""
_WITHOUT_NUL = r"^[^\u0000]*$"


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def closed(properties: dict[str, Schema], optional: tuple[str, ...] = (), **more: Any) -> Schema:
    """An object with these members and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name in properties if name not in optional],
        "properties": properties,
        **more,
    }


def _key(description: str) -> Schema:
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_KEY_CHARS,
        "pattern": _KEY_PATTERN,
        "description": f"{description} Byte-exact, never trimmed.",
    }


def _identity_field(description: str) -> Schema:
    return {
        "type": ["string", "null"],
        "maxLength": MAX_IDENTITY_CHARS,
        "pattern": _WITHOUT_NUL,
        "description": description,
    }


_IDENTITY = closed(
    {
        "externalUserId": _identity_field(
            "Upstream user id: becomes the canonical EXTERNAL identifier, one per profile."
        ),
        "email": _identity_field("Email before normalisation."),
        "phone": _identity_field(
            "Phone before normalisation: E.164, or national with the source's default region."
        ),
        "deviceKey": _identity_field("Device-bound identifier. Alone it never merges profiles."),
    },
    optional=tuple(FIELDS.values()),
    minProperties=1,
    anyOf=[
        {"required": [name], "properties": {name: {"type": "string"}}} for name in FIELDS.values()
    ],
    description="Whom the event is about: at least one field. null counts as left out.",
)

_EVENT = closed(
    {
        "source": _key("Source system, such as `brand.pos`. Registered on first sight."),
        "externalEventId": _key(
            "Idempotency key of the business fact, stable across retries. "
            "An event is known by (tenant, source, externalEventId), for ever."
        ),
        "eventType": _key("A registered event type."),
        "occurredAt": {
            "type": ["string", "null"],
            "format": "date-time",
            "description": "When the fact happened, with a UTC offset: from 2000-01-01 to 24 hours "
            "ahead (a warning past 5 minutes). Receipt time when left out.",
        },
        "identity": ref("Identity"),
        "properties": {
            "type": ["object", "null"],
            "description": 'The event type\'s registered properties. No coercion: `"120.5"` is '
            "no number. May be left out when none is required.",
        },
    },
    optional=("occurredAt", "properties"),
    description=f"One customer event, of {MAX_EVENT_BYTES} bytes at most.",
)

_BATCH = closed(
    {"items": {"type": "array", "maxItems": MAX_BATCH_ITEMS, "items": ref("Event")}},
    description="Many events. Each is judged on its own.",
)

_EVENT_ID = {"type": "string", "pattern": "^evt_[0-9a-f]+$", "description": "Opaque."}
_REQUEST_ID = {"type": "string", "pattern": "^req_[0-9a-f]+$", "description": "For support."}
_VIOLATIONS = {"type": "array", "items": ref("Violation")}

_VIOLATION = closed(
    {
        "path": {
            "type": "string",
            "pattern": "^(/([^/~]|~[01])*)*$",
            "description": "JSON Pointer (RFC 6901) into the event as sent; empty is all of it.",
        },
        "code": {"type": "string", "enum": list(REASONS)},
        "message": {"type": "string", "description": "For people. Never a value that was sent."},
        "did_you_mean": {"type": "string", "description": "A known name close to the one sent."},
    },
    optional=("did_you_mean",),
    description="One reason, at one place. Every code is in docs/errors.md.",
)

_FAILURE: dict[str, Schema] = {
    "error_code": {"type": "string", "enum": list(ErrorCode)},
    "errors": _VIOLATIONS | {"maxItems": MAX_VIOLATIONS},
    "original_event_id": _EVENT_ID,
}
_REQUEST_FAILURE = _FAILURE | {"request_id": _REQUEST_ID}
_SAID = {"status": {"const": "error"}, "message": {"type": "string"}}

SCHEMAS: dict[str, Schema] = {
    "Event": _EVENT,
    "Identity": _IDENTITY,
    "Batch": _BATCH,
    "Accepted": closed(
        {"status": {"const": "accepted"}, "event_id": _EVENT_ID, "warnings": _VIOLATIONS},
        optional=("warnings",),
        description="Durable: event, key, identity and counters are committed.",
    ),
    "Duplicate": closed(
        {"status": {"const": "duplicate"}, "original_event_id": _EVENT_ID},
        description="This fact was accepted before; nothing was written.",
    ),
    "ItemError": closed(
        _SAID | _FAILURE,
        optional=("original_event_id",),
        description="An item of a batch that was refused.",
    ),
    "BatchAnswer": closed(
        {
            "results": {
                "type": "array",
                "maxItems": MAX_BATCH_ITEMS,
                "description": "One entry per item, in the order of the request.",
                "items": {
                    "oneOf": [ref("Accepted"), ref("Duplicate"), ref("ItemError")],
                    "discriminator": {
                        "propertyName": "status",
                        "mapping": {
                            status: ref(name)["$ref"]
                            for status, name in (
                                ("accepted", "Accepted"),
                                ("duplicate", "Duplicate"),
                                ("error", "ItemError"),
                            )
                        },
                    },
                },
            },
            "summary": closed(
                {
                    outcome: {"type": "integer", "minimum": 0}
                    for outcome in ("accepted", "duplicate", "error")
                }
            ),
        }
    ),
    "Error": closed(
        _SAID | _REQUEST_FAILURE,
        optional=("original_event_id",),
        description="A request that was refused. Switch on `error_code`.",
    ),
    "Problem": closed(
        {
            "type": {"type": "string", "pattern": "^urn:cdp:error:[a-z_]+$"},
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string"},
            **_REQUEST_FAILURE,
        },
        optional=("original_event_id",),
        description="The same as RFC 9457, for `Accept: application/problem+json`.",
    ),
    "Violation": _VIOLATION,
}


def _header(description: str, schema: Schema, *, required: bool = False) -> Schema:
    return {"description": description, "required": required, "schema": schema}


_COUNT = {"type": "integer", "minimum": 0}

HEADERS: dict[str, Schema] = {
    "X-Request-Id": _header("Names the request in the service's log.", _REQUEST_ID, required=True),
    "RateLimit-Limit": _header(
        "Events a minute: the tightest limit of key and tenant. Once the key is known.", _COUNT
    ),
    "RateLimit-Remaining": _header("Events left in this minute.", _COUNT),
    "RateLimit-Reset": _header("Seconds until the next minute.", _COUNT),
    "Retry-After": _header("Seconds to wait.", {"type": "integer", "minimum": 1}, required=True),
    "WWW-Authenticate": _header("The scheme to use.", {"const": "Bearer"}, required=True),
    "Allow": _header("The methods of this address.", {"type": "string"}, required=True),
}
EVERYWHERE = ("X-Request-Id", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
BY_CODE = {
    ErrorCode.UNAUTHORIZED: "WWW-Authenticate",
    ErrorCode.METHOD_NOT_ALLOWED: "Allow",
    ErrorCode.RATE_LIMITED: "Retry-After",
    ErrorCode.UNAVAILABLE: "Retry-After",
}
