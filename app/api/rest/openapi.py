"""The published reference: the OpenAPI document and the page that shows it, both ready bytes.

The endpoints are plain ASGI handlers that no framework can describe; a test holds the document
against the running service. Never asks another host for anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from litestar.handlers import HTTPRouteHandler
from swagger_ui_bundle import swagger_ui_path

from app.access.keys import Scope
from app.api.pages import ready
from app.api.rest import openapi_examples as examples
from app.api.rest.bodies import MAX_BODY_BYTES
from app.api.rest.openapi_schemas import BY_CODE, EVERYWHERE, HEADERS, SCHEMAS, Schema, ref
from app.errors import CATALOGUE, ErrorCode
from app.ingest.content import MAX_NESTING
from app.ingest.decode import MAX_EVENT_BYTES
from app.ingest.event import Refused
from app.ingest.split import MAX_BATCH_ITEMS

EVENTS_PATH = "/v1/cdp/events"
BATCH_PATH = "/v1/cdp/events/batch"

_JSON = "application/json"
_PROBLEM = "application/problem+json"

_ABOUT = f"""\
Takes customer events from server to server. An answer of `accepted` is given only after the commit
of the event, its key, its identity and its counters. A retry of the same fact, under the same
`source` and `externalEventId`, is answered `duplicate`: after a timeout or a 5xx, send it again.

| limit | |
|---|---|
| an event | {MAX_EVENT_BYTES:,} bytes, {MAX_NESTING} levels of objects and arrays |
| a batch | {MAX_BATCH_ITEMS:,} items |
| a body | {MAX_BODY_BYTES:,} bytes after decompression; `Content-Encoding` gzip or zstd |

Errors come as `application/problem+json` (RFC 9457) to those who `Accept` it. An address that is
not listed here answers 404 `not_found`.
"""


def openapi_document() -> dict[str, Any]:
    """OpenAPI 3.1, in the order in which it is read."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "CDP ingest API", "version": "1.0.0", "description": _ABOUT},
        "tags": [
            {"name": "events", "description": "What happened, and to whom."},
            {"name": "operations", "description": "For those who run the service. No key."},
        ],
        "paths": {
            EVENTS_PATH: {"post": _deliver_event()},
            BATCH_PATH: {"post": _deliver_batch()},
            **_operations(),
        },
        "components": {
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "cdp_<env>_<id>_<secret>",
                    "description": "The tenant comes from the key. Scopes: "
                    + ", ".join(f"`{scope}`" for scope in Scope),
                }
            },
            "headers": HEADERS,
            "schemas": SCHEMAS,
        },
    }


def _deliver_event() -> dict[str, Any]:
    return {
        "operationId": "deliverEvent",
        "tags": ["events"],
        "summary": "Deliver one customer event",
        "security": [{"apiKey": [Scope.EVENTS_WRITE]}],
        "requestBody": _request(ref("Event"), "purchase", examples.EVENT),
        "responses": {
            "200": _answer("Delivered before.", ref("Duplicate"), examples.duplicate_answers()),
            "202": _answer("Accepted.", ref("Accepted"), examples.accepted_answers()),
            **_errors(examples.SINGLE_REFUSALS),
        },
    }


def _deliver_batch() -> dict[str, Any]:
    return {
        "operationId": "deliverBatch",
        "tags": ["events"],
        "summary": "Deliver many customer events",
        "description": "Each item is judged on its own; its errors are those of one event. "
        "Of one key that comes twice the first valid item wins.",
        "security": [{"apiKey": [Scope.EVENTS_WRITE]}],
        "requestBody": _request(ref("Batch"), "two_purchases", examples.BATCH),
        "responses": {
            "200": _answer(
                "Judged, also when every item is an error.",
                ref("BatchAnswer"),
                examples.batch_answers(),
            ),
            **_errors(examples.BATCH_REFUSALS),
        },
    }


def _operations() -> dict[str, Any]:
    """The addresses that need no key."""
    ok, ready, away = ({"status": status} for status in ("ok", "ready", "unavailable"))
    return {
        "/healthz": _unsecured("healthz", "The process answers", {"200": _state(ok)}),
        "/readyz": _unsecured(
            "readyz",
            "Events can be taken",
            {"200": _state(ready), "503": _state(away) | {"headers": _headers(["Retry-After"])}},
        ),
        "/metrics": _unsecured(
            "metrics",
            "Prometheus metrics of all workers",
            {
                "200": {
                    "description": "Prometheus text.",
                    "content": {"text/plain": {"schema": {"type": "string"}}},
                }
            },
        ),
    }


def _unsecured(name: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {
        "get": {
            "operationId": name,
            "tags": ["operations"],
            "summary": summary,
            "security": [],
            "responses": responses,
        }
    }


def _state(body: dict[str, str]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"const": body["status"]}},
    }
    return {
        "description": f"{body['status'].capitalize()}.",
        "content": {_JSON: {"schema": schema, "example": body}},
    }


def _request(schema: Schema, name: str, value: object) -> dict[str, Any]:
    return {
        "required": True,
        "content": {_JSON: {"schema": schema, "examples": {name: {"value": value}}}},
    }


def _answer(description: str, schema: Schema, bodies: Mapping[str, object]) -> dict[str, Any]:
    return {
        "description": description,
        "headers": _headers(EVERYWHERE),
        "content": {
            _JSON: {
                "schema": schema,
                "examples": {name: {"value": body} for name, body in bodies.items()},
            }
        },
    }


def _errors(refusals: Iterable[Refused]) -> dict[str, Any]:
    """The error responses of an endpoint by status, each code with its example."""
    by_code = {refused.code: refused for refused in refusals}
    by_status: dict[int, list[Refused]] = {}
    for code, entry in sorted(CATALOGUE.items(), key=lambda item: item[1].status):
        if code in by_code:
            by_status.setdefault(entry.status, []).append(by_code[code])
    return {str(status): _error(found) for status, found in by_status.items()}


def _error(refusals: list[Refused]) -> dict[str, Any]:
    codes = [refused.code for refused in refusals]
    own_headers = [BY_CODE[code] for code in codes if code in BY_CODE]
    return {
        "description": "\n".join(f"- `{code}`: {_meaning(code)}" for code in codes),
        "headers": _headers([*EVERYWHERE, *own_headers]),
        "content": {
            media_type: {
                "schema": {"allOf": [ref(schema), {"properties": {"error_code": {"enum": codes}}}]},
                "examples": {
                    refused.code: {
                        "summary": CATALOGUE[refused.code].title,
                        "value": examples.refusal_body(refused, as_problem=as_problem),
                    }
                    for refused in refusals
                },
            }
            for media_type, schema, as_problem in (
                (_JSON, "Error", False),
                (_PROBLEM, "Problem", True),
            )
        },
    }


def _meaning(code: ErrorCode) -> str:
    return f"{CATALOGUE[code].title}. Retry: {CATALOGUE[code].retry}."


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


_PAGE = b"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>CDP ingest API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/init.js"></script>
</body>
</html>
"""
_INIT = b"""\
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
"""
_PAGE_POLICY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
}


def docs_routes() -> list[HTTPRouteHandler]:
    """/openapi.json, and /docs with the three files that it needs. No key, no other host."""
    style, script = (
        (swagger_ui_path / name).read_bytes() for name in ("swagger-ui.css", "swagger-ui-bundle.js")
    )
    return [
        ready("/openapi.json", msgspec.json.encode(openapi_document()), _JSON),
        ready("/docs", _PAGE, "text/html", _PAGE_POLICY),
        ready("/docs/init.js", _INIT, "text/javascript"),
        ready("/docs/swagger-ui.css", style, "text/css"),
        ready("/docs/swagger-ui-bundle.js", script, "text/javascript"),
    ]
