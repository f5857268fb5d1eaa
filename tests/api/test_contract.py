"""The contract, rule by rule. `docs/contract-tests.md` is made from the markers here."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import zstandard

from app.access.keys import Scope
from tests.support import EXAMPLE, Api, eventually, purchase

rule = pytest.mark.contract

IDENTITY_REQUIRED = (
    "identity.externalUserId, identity.email, identity.phone, or identity.deviceKey is required"
)


def without(event: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in names}


def violation(path: str, code: str) -> tuple[str, str]:
    return path, code


def found(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(error["path"], error["code"]) for error in body["errors"]]


# ── 1. endpoints ──────────────────────────────────────────────────────────────────────────────


@rule("1: one event")
@rule("4.1: 202 accepted, 200 duplicate")
async def test_the_example_is_accepted_and_its_retry_is_a_duplicate_of_it(api: Api) -> None:
    first = await api.post(EXAMPLE)
    again = await api.post(EXAMPLE)
    event_id = first.json()["event_id"]
    assert (first.status_code, first.json()) == (202, {"status": "accepted", "event_id": event_id})
    assert (again.status_code, again.json()) == (
        200,
        {"status": "duplicate", "original_event_id": event_id},
    )
    assert event_id.startswith("evt_")


@rule("1: many events")
@rule("4.1: 200 for every batch that was judged")
@rule("4.2: the error of a batch's item has the same shape without request_id")
@rule("4.19: batches add a summary")
async def test_a_batch_is_judged_item_by_item_in_the_order_of_the_request(api: Api) -> None:
    known = (await api.post(purchase("b"))).json()["event_id"]
    response = await api.batch([purchase("a"), purchase("b"), purchase("c", identity={})])
    body = response.json()
    assert response.status_code == 200
    assert body == {
        "results": [
            {"status": "accepted", "event_id": body["results"][0]["event_id"]},
            {"status": "duplicate", "original_event_id": known},
            {
                "status": "error",
                "error_code": "validation_failed",
                "message": IDENTITY_REQUIRED,
                "errors": [
                    {
                        "path": "/identity",
                        "code": "identity_required",
                        "message": IDENTITY_REQUIRED,
                    }
                ],
            },
        ],
        "summary": {"accepted": 1, "duplicate": 1, "error": 1},
    }


@rule("1: an empty batch")
async def test_an_empty_batch_has_no_results(api: Api) -> None:
    response = await api.batch([])
    assert (response.status_code, response.json()) == (
        200,
        {"results": [], "summary": {"accepted": 0, "duplicate": 0, "error": 0}},
    )


@rule("1: occurredAt is receipt time when omitted")
async def test_without_occurred_at_the_event_occurred_when_it_was_received(api: Api) -> None:
    await api.post(without(EXAMPLE, "occurredAt"))
    rows = await api.fetch("select occurred_at = received_at as same, occurred_at_sent from event")
    assert [tuple(row) for row in rows] == [(True, False)]


# ── 2. validation and deduplication ───────────────────────────────────────────────────────────


@rule("2: eventType must be registered")
async def test_an_unregistered_event_type_is_refused_with_a_suggestion(api: Api) -> None:
    response = await api.post(purchase("a", eventType="purchase_complete"))
    assert response.status_code == 422
    assert response.json()["errors"] == [
        {
            "path": "/eventType",
            "code": "event_type_unregistered",
            "message": "the event type is not registered",
            "did_you_mean": "purchase_completed",
        }
    ]


@rule("2: required properties must be present")
@rule("3: 422 validation fails")
async def test_every_missing_required_property_is_named(api: Api) -> None:
    response = await api.post(purchase("a", properties={"currency": "USD"}))
    assert response.status_code == 422
    assert sorted(found(response.json())) == [
        violation("/properties/amount", "property_missing"),
        violation("/properties/order_id", "property_missing"),
    ]


@rule("2: the key is (tenant, source, externalEventId)")
async def test_the_same_id_from_another_source_is_another_event(api: Api) -> None:
    first = await api.post(purchase("a"))
    second = await api.post(purchase("a", source="brand.crm"))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["event_id"] != second.json()["event_id"]


@rule("2: parts of the key are not joined")
async def test_parts_of_the_key_cannot_run_into_each_other(api: Api) -> None:
    first = await api.post(purchase("c", source="a-b"))
    second = await api.post(purchase("b-c", source="a"))
    assert (first.status_code, second.status_code) == (202, 202)


# ── 3. status meanings, and 4.2 the error body ────────────────────────────────────────────────


@rule("3: 401 invalid key")
@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer nonsense", "Basic abc", "Bearer cdp_test_aaaaaaaaaa_" + "a" * 32],
)
async def test_without_a_valid_key_nothing_else_is_looked_at(
    api: Api, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    response = await api.client.post("/v1/cdp/events", content=b"{nonsense", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error_code"] == "unauthorized"


@rule("3: 403 lacks permission")
async def test_a_key_without_the_scope_gets_403(api: Api) -> None:
    key = await api.new_key(scopes=[Scope.SCHEMA_READ])
    response = await api.post(EXAMPLE, key=key)
    assert response.status_code == 403
    assert response.json()["errors"] == [
        {"path": "", "code": "scope_missing", "message": "the key lacks the scope events:write"}
    ]


@rule("2: at least one identity field, in the reference's words")
@rule("4.2: one error body")
async def test_a_refusal_has_the_one_shape_and_the_request_id_of_its_header(api: Api) -> None:
    response = await api.post(purchase("a", identity={}))
    assert response.json() == {
        "status": "error",
        "error_code": "validation_failed",
        "message": IDENTITY_REQUIRED,
        "errors": [
            {"path": "/identity", "code": "identity_required", "message": IDENTITY_REQUIRED}
        ],
        "request_id": response.headers["x-request-id"],
    }


@rule("4.2: at most 50 violations, never a value")
async def test_at_most_fifty_violations_are_listed_and_no_value_is_repeated(api: Api) -> None:
    properties = EXAMPLE["properties"] | {f"secret_{n}": "marker-4711" for n in range(80)}
    response = await api.post(purchase("a", properties=properties))
    assert len(response.json()["errors"]) == 50
    assert "marker-4711" not in response.text


@rule("4.2: problem+json on request")
async def test_problem_json_is_given_to_those_who_ask_for_it(api: Api) -> None:
    response = await api.post(
        purchase("a", identity={}), headers={"Accept": "application/problem+json"}
    )
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "type": "urn:cdp:error:validation_failed",
        "title": "The event breaks the contract; `errors` lists every reason",
        "status": 422,
        "detail": IDENTITY_REQUIRED,
        "error_code": "validation_failed",
        "errors": [
            {"path": "/identity", "code": "identity_required", "message": IDENTITY_REQUIRED}
        ],
        "request_id": response.headers["x-request-id"],
    }


@rule("4.3: not_found, method_not_allowed")
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/v1/cdp/nothing", 404, "not_found"),
        ("GET", "/v1/cdp/events", 405, "method_not_allowed"),
        ("PUT", "/v1/cdp/events/batch", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
    ],
)
async def test_wrong_addresses_and_methods_answer_in_the_catalogue_s_words(
    api: Api, method: str, path: str, status: int, code: str
) -> None:
    response = await api.client.request(method, path)
    assert (response.status_code, response.json()["error_code"]) == (status, code)
    if status == 405:
        assert "Allow" in response.headers or "allow" in response.headers


@rule("4.3: unsupported_media_type")
async def test_bodies_that_are_not_json_or_strangely_compressed_are_415(api: Api) -> None:
    as_text = await api.post(EXAMPLE, headers={"Content-Type": "text/plain"})
    brotli = await api.post(EXAMPLE, headers={"Content-Encoding": "br"})
    assert (as_text.status_code, brotli.status_code) == (415, 415)


# ── 4.4 to 4.9: idempotency ───────────────────────────────────────────────────────────────────


@rule("3: 409 collides with what stands, not to be retried")
@rule("4.4: same key, other content is a conflict with paths")
async def test_other_content_under_a_known_key_is_a_conflict_that_names_the_paths(api: Api) -> None:
    event_id = (await api.post(EXAMPLE)).json()["event_id"]
    other = purchase(
        EXAMPLE["externalEventId"],
        identity={"externalUserId": "L-123456789", "email": "other@example.com"},
        properties=EXAMPLE["properties"] | {"amount": 99},
    )
    response = await api.post(other)
    assert response.status_code == 409
    assert response.json() == {
        "status": "error",
        "error_code": "idempotency_conflict",
        "message": "another fact was already delivered under this source and externalEventId",
        "errors": [
            {
                "path": path,
                "code": "content_differs",
                "message": "differs from the first delivery",
            }
            for path in ("/identity/email", "/properties/amount")
        ],
        "original_event_id": event_id,
        "request_id": response.headers["x-request-id"],
    }


@rule("4.4: spelling does not matter")
@pytest.mark.parametrize(
    "retry",
    [
        pytest.param(json.dumps(EXAMPLE, indent=3).encode(), id="white space"),
        pytest.param(json.dumps(EXAMPLE, sort_keys=True).encode(), id="key order"),
        pytest.param(json.dumps(EXAMPLE).replace("120.5", "1.2050e2").encode(), id="number"),
        pytest.param(
            json.dumps(EXAMPLE).replace("customer@", "Customer@").encode(), id="email case"
        ),
        pytest.param(
            json.dumps(EXAMPLE).replace("12:45:00Z", "14:45:00+02:00").encode(), id="time zone"
        ),
    ],
)
async def test_a_retry_may_spell_the_same_content_differently(api: Api, retry: bytes) -> None:
    event_id = (await api.post(EXAMPLE)).json()["event_id"]
    response = await api.post(retry)
    assert (response.status_code, response.json()) == (
        200,
        {"status": "duplicate", "original_event_id": event_id},
    )


@rule("4.4: onMismatch DUPLICATE, and both are recorded")
async def test_a_source_may_have_other_content_called_duplicate(api: Api) -> None:
    from app.access.queries import set_source

    await api.post(EXAMPLE)
    other = EXAMPLE | {"properties": EXAMPLE["properties"] | {"amount": 1}}
    assert (await api.post(other)).status_code == 409
    await set_source(api.tenant_id, "brand.pos", {"on_mismatch": "DUPLICATE"})

    async def is_duplicate() -> bool:
        return (await api.post(other)).status_code == 200

    await eventually(is_duplicate)
    rows = await api.fetch("select distinct outcome, differing from delivery order by outcome")
    assert [tuple(row) for row in rows] == [
        (2, ["/properties/amount"]),
        (3, ["/properties/amount"]),
    ]


@rule("4.5: an invalid event does not claim its key")
async def test_the_corrected_resend_of_an_invalid_event_is_accepted(api: Api) -> None:
    refused = await api.post(purchase("a", properties={}))
    accepted = await api.post(purchase("a"))
    assert (refused.status_code, accepted.status_code) == (422, 202)


@rule("4.6: no schema judges a retry")
async def test_a_retry_is_a_duplicate_even_when_its_type_was_retired_since(api: Api) -> None:
    event_id = (await api.post(EXAMPLE)).json()["event_id"]
    await api.fetch("update event_type set status = 'RETIRED' where name = 'purchase_completed'")
    await api.fetch("update tenant set registry_revision = registry_revision + 1")

    numbers = itertools.count()

    async def is_retired() -> bool:
        body = (await api.post(purchase(f"new_{next(numbers)}"))).json()
        return body.get("errors", [{}])[0].get("code") == "event_type_retired"

    await eventually(is_retired)
    response = await api.post(EXAMPLE)
    assert (response.status_code, response.json()) == (
        200,
        {"status": "duplicate", "original_event_id": event_id},
    )


@rule("4.7: the first valid one of a batch wins")
async def test_of_one_key_in_a_batch_the_first_valid_item_wins(api: Api) -> None:
    results = await api.results(
        [
            purchase("a", properties={}),
            purchase("a"),
            purchase("a"),
            purchase("a", properties=EXAMPLE["properties"] | {"amount": 1}),
        ]
    )
    assert [r["status"] for r in results] == ["error", "accepted", "duplicate", "error"]
    assert results[2]["original_event_id"] == results[1]["event_id"]
    assert results[3]["error_code"] == "idempotency_conflict"
    assert found(results[3]) == [violation("/properties/amount", "content_differs")]


@rule("4.8: the dedupe window is for ever")
async def test_a_key_outlives_its_event(api: Api) -> None:
    event_id = (await api.post(EXAMPLE)).json()["event_id"]
    await api.fetch("delete from event")
    again = await api.post(EXAMPLE)
    other = await api.post(EXAMPLE | {"eventType": "store_visited", "properties": {}})
    assert again.json() == {"status": "duplicate", "original_event_id": event_id}
    assert other.status_code in (409, 422)


@rule("4.9: an erased event's key")
async def test_the_key_of_an_erased_event_is_a_conflict(api: Api) -> None:
    event_id = (await api.post(EXAMPLE)).json()["event_id"]
    await api.fetch("update event_key set state = 1")
    response = await api.post(EXAMPLE)
    assert (response.status_code, response.json()["error_code"]) == (409, "event_erased")
    assert response.json()["original_event_id"] == event_id


@rule("4.9: two requests in flight with one key are no conflict")
async def test_of_many_requests_in_flight_one_is_accepted_and_the_rest_are_duplicates(
    api: Api,
) -> None:
    responses = await asyncio.gather(*(api.post(EXAMPLE) for _ in range(40)))
    assert sorted(r.status_code for r in responses) == [200] * 39 + [202]


# ── 4.10 to 4.15: shape, sizes, time ──────────────────────────────────────────────────────────


@rule("4.2: did_you_mean where a name is close to a registered one")
@rule("4.10: unknown fields")
async def test_a_misspelt_envelope_field_is_refused_with_a_suggestion(api: Api) -> None:
    event = without(EXAMPLE, "occurredAt") | {"occured_at": "2026-05-20T12:45:00Z"}
    event["identity"] = {"e_mail": "a@example.com", "email": "a@example.com"}
    body = (await api.post(event)).json()
    assert [(e["path"], e["code"], e.get("did_you_mean")) for e in body["errors"]] == [
        ("/occured_at", "field_unknown", "occurredAt"),
        ("/identity/e_mail", "field_unknown", "email"),
    ]


@rule("4.10: null counts as left out")
async def test_null_in_an_optional_field_counts_as_left_out(api: Api) -> None:
    event = purchase("a", occurredAt=None)
    event["identity"] = event["identity"] | {"phone": None}
    accepted = await api.post(event)
    left_out = await api.post(without(purchase("a"), "occurredAt"))
    assert (accepted.status_code, left_out.status_code) == (202, 200)


@rule("4.10: properties may be left out when nothing in it is required")
@pytest.mark.parametrize(
    ("event_type", "status"), [("profile_updated", 202), ("store_visited", 422)]
)
async def test_properties_may_be_left_out_where_nothing_is_required(
    api: Api, event_type: str, status: int
) -> None:
    bare = await api.post(without(purchase("a", eventType=event_type), "properties"))
    null = await api.post(purchase("b", eventType=event_type, properties=None))
    assert (bare.status_code, null.status_code) == (status, status)


@rule("4.10: strings are byte-exact")
@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "string_length"),
        ("x" * 256, "string_length"),
        (" a", "string_characters"),
        ("a\n", "string_characters"),
        ("a\u0007b", "string_characters"),
        (17, "field_type"),
    ],
)
async def test_an_external_event_id_is_taken_as_it_is_or_refused(
    api: Api, value: object, code: str
) -> None:
    response = await api.post(EXAMPLE | {"externalEventId": value})
    assert response.status_code == 422
    assert found(response.json()) == [violation("/externalEventId", code)]


@rule("4.10: case and inner space belong to the key")
async def test_keys_differ_by_case_and_inner_white_space(api: Api) -> None:
    ids = ["a b", "A b", "a  b", "ä" * 255]
    assert [(await api.post(purchase(i))).status_code for i in ids] == [202] * 4


@rule("4.11: unknown properties: REJECT, STRIP, ALLOW")
async def test_unknown_properties_are_rejected_by_default_with_a_suggestion(api: Api) -> None:
    event = purchase("a", properties=EXAMPLE["properties"] | {"stor_id": "x"})
    body = (await api.post(event)).json()
    assert [(e["path"], e["code"], e.get("did_you_mean")) for e in body["errors"]] == [
        ("/properties/stor_id", "property_unknown", "store_id")
    ]


@rule("4.12: no coercion")
@pytest.mark.parametrize("amount", ["120.5", True, None, [1]])
async def test_values_of_the_wrong_type_are_not_coerced(api: Api, amount: object) -> None:
    event = purchase("a", properties=EXAMPLE["properties"] | {"amount": amount})
    response = await api.post(event)
    assert response.status_code == 422
    assert found(response.json()) == [violation("/properties/amount", "property_type")]


@rule("4.12: numbers are stored exactly")
async def test_numbers_are_stored_with_every_digit(api: Api) -> None:
    digits = "12345678901234567890.123456789012345678901"
    body = json.dumps(EXAMPLE).replace("120.5", digits).encode()
    assert (await api.post(body)).status_code == 202
    rows = await api.fetch("select properties ->> 'amount' as amount from event")
    assert rows[0]["amount"] == digits


HOSTILE: list[tuple[str, bytes]] = [
    ("NUL in a string", rb'"a\u0000b"'),
    ("a lone surrogate", rb'"\ud800"'),
    ("NaN", b"NaN"),
    ("1e400", b"1e400"),
    ("too deep", b"[" * 40 + b"]" * 40),
    ("far too deep", b"[" * 100_000 + b"]" * 100_000),
    ("invalid UTF-8", b'"\xff\xfe"'),
    ("a huge integer", b"9" * 5_000),
    ("a tiny number", b"1e-20000"),
]


@rule("4.13: hostile JSON alone")
@pytest.mark.parametrize("value", [pytest.param(v, id=n) for n, v in HOSTILE])
async def test_a_hostile_event_is_refused_and_never_a_500(api: Api, value: bytes) -> None:
    event = json.dumps(EXAMPLE).replace('"store_42"', "HOSTILE").encode().replace(b"HOSTILE", value)
    response = await api.post(event)
    assert response.status_code in (400, 422)
    assert (await api.reconciliation()).balanced


@rule("4.13: hostile JSON in a batch leaves its siblings alone")
@pytest.mark.parametrize("value", [pytest.param(v, id=n) for n, v in HOSTILE])
async def test_a_hostile_item_does_not_touch_its_siblings(api: Api, value: bytes) -> None:
    hostile = json.dumps(purchase("h")).replace('"store_42"', "X").encode().replace(b"X", value)
    good = [msgspec.json.encode(purchase(name)) for name in ("a", "b")]
    body = b'{"items":[' + good[0] + b"," + hostile + b"," + good[1] + b"]}"
    response = await api.batch(body)
    assert response.status_code == 200
    assert [r["status"] for r in response.json()["results"]] == ["accepted", "error", "accepted"]
    assert (await api.reconciliation()).balanced


@rule("4.13: of a repeated member the last wins")
async def test_of_a_repeated_member_the_last_wins_here_and_in_postgres(api: Api) -> None:
    body = json.dumps(EXAMPLE).replace('"amount": 120.5', '"amount": "x", "amount": 7').encode()
    assert (await api.post(body)).status_code == 202
    rows = await api.fetch("select properties ->> 'amount' as amount from event")
    assert rows[0]["amount"] == "7"


@rule("4.14: occurredAt")
@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("2026-05-20T12:45:00", "timestamp_offset_missing"),
        ("yesterday", "timestamp_format"),
        ("2026-13-01T00:00:00Z", "timestamp_format"),
        (1_700_000_000, "field_type"),
        ("1999-12-31T23:59:59Z", "timestamp_too_old"),
        pytest.param(
            (datetime.now(UTC) + timedelta(hours=25)).isoformat(),
            "timestamp_in_future",
            id="future",
        ),
    ],
)
async def test_occurred_at_has_an_offset_and_lies_in_a_sane_range(
    api: Api, value: object, code: str
) -> None:
    response = await api.post(EXAMPLE | {"occurredAt": value})
    assert response.status_code == 422
    assert found(response.json()) == [violation("/occurredAt", code)]


@rule("4.14: up to 24 h ahead is accepted with a warning")
async def test_a_clock_that_runs_ahead_is_warned_about(api: Api) -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    body = (await api.post(EXAMPLE | {"occurredAt": ahead})).json()
    assert body["status"] == "accepted"
    assert found({"errors": body["warnings"]}) == [violation("/occurredAt", "occurred_at_ahead")]


@rule("4.14: up to 24 h ahead is accepted with a warning")
async def test_a_clock_that_is_nearly_right_is_not_warned_about(api: Api) -> None:
    ahead = (datetime.now(UTC) + timedelta(minutes=4)).isoformat()
    body = (await api.post(EXAMPLE | {"occurredAt": ahead})).json()
    assert set(body) == {"status", "event_id"}


@rule("4.14: never rewritten, received_at stands beside it")
async def test_a_moment_is_stored_as_it_was_sent_beside_that_of_its_receipt(api: Api) -> None:
    before = datetime.now(UTC)
    await api.post(purchase("late", occurredAt="2001-02-03T04:05:06.789+05:30"))
    ahead = datetime.now(UTC) + timedelta(hours=23)
    await api.post(purchase("ahead", occurredAt=ahead.isoformat()))
    rows = await api.fetch("select occurred_at, received_at from event order by occurred_at")
    assert [row["occurred_at"] for row in rows] == [
        datetime(2001, 2, 2, 22, 35, 6, 789_000, tzinfo=UTC),
        ahead,
    ]
    assert all(before <= row["received_at"] <= datetime.now(UTC) for row in rows)


@rule("4.15: an event has at most 256 KiB")
@rule("4.15: 413 names the limit and the size")
async def test_an_oversized_item_is_an_item_error_and_alone_a_413(api: Api) -> None:
    large = purchase("large", properties={"order_id": "x" * (256 << 10)})
    alone = await api.post(large)
    results = await api.results([large, purchase("small")])
    assert alone.status_code == 413
    size = len(msgspec.json.encode(large))
    assert alone.json()["message"] == f"an event may have 262144 bytes; this one has {size}"
    assert results[0]["error_code"] == "payload_too_large"
    assert results[1]["status"] == "accepted"


@rule("4.15: at most 2,000 items")
async def test_a_batch_of_more_than_two_thousand_items_is_413(api: Api) -> None:
    response = await api.batch([purchase(str(n)) for n in range(2001)])
    assert response.status_code == 413
    assert "2000" in response.json()["message"]
    assert "2001" in response.json()["message"]
    assert (await api.reconciliation()).received == 0


@rule("4.15: at most 10 MiB a body")
async def test_a_body_over_ten_mebibytes_is_413(api: Api) -> None:
    response = await api.batch(b'{"items":[' + b" " * (10 << 20) + b"]}")
    assert response.status_code == 413
    assert str(10 << 20) in response.json()["message"]


@rule("4.15: gzip and zstd")
@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("gzip", gzip.compress), ("zstd", zstandard.ZstdCompressor().compress)],
)
async def test_compressed_bodies_are_taken_and_bombs_are_refused(
    api: Api, encoding: str, compress: Any
) -> None:
    headers = {"Content-Encoding": encoding}
    accepted = await api.batch(
        compress(msgspec.json.encode({"items": [purchase("a")]})), headers=headers
    )
    bomb = await api.batch(compress(b" " * (200 << 20)), headers=headers)
    broken = await api.batch(b"not compressed", headers=headers)
    assert accepted.json()["summary"]["accepted"] == 1
    assert (bomb.status_code, broken.status_code) == (413, 400)


# ── 4.16 to 4.19: sources, identity, warnings ─────────────────────────────────────────────────


@rule("4.16: sources register themselves")
async def test_an_unknown_source_is_registered_on_first_sight(api: Api) -> None:
    await api.post(purchase("a", source="shop.new"))
    assert [row["name"] for row in await api.fetch("select name from source")] == ["shop.new"]


@rule("4.16: up to 1,000 sources a tenant")
async def test_a_tenant_may_not_have_more_sources_than_its_limit(api: Api) -> None:
    await api.fetch("update tenant set max_sources = 2, access_revision = access_revision + 1")
    await asyncio.sleep(1)
    results = await api.results([purchase("a", source=f"s{n}") for n in range(4)])
    assert [r["status"] for r in results].count("accepted") == 2
    refused = [r for r in results if r["status"] == "error"]
    assert [found(r) for r in refused] == [[violation("/source", "source_limit_reached")]] * 2


@rule("4.16: a key can be limited to sources and event types")
async def test_a_limited_key_gets_403_and_in_a_batch_forbidden_for_that_item(api: Api) -> None:
    key = await api.new_key(sources=["brand.pos"], event_types=["purchase_completed"])
    other_source = await api.post(purchase("a", source="brand.crm"), key=key)
    other_type = await api.post(purchase("a", eventType="store_visited"), key=key)
    assert (other_source.status_code, other_type.status_code) == (403, 403)
    assert found(other_source.json()) == [violation("/source", "source_not_allowed")]
    assert found(other_type.json()) == [violation("/eventType", "event_type_not_allowed")]
    body = (await api.batch([purchase("a", source="brand.crm"), purchase("b")], key=key)).json()
    assert [r.get("error_code") for r in body["results"]] == ["forbidden", None]


@rule("4.17: a device alone never merges anybody")
async def test_a_shared_device_joins_nobody(api: Api) -> None:
    def visit(name: str, **identity: str) -> dict[str, Any]:
        return purchase(name, identity=identity | {"deviceKey": "tablet-at-the-till"})

    people = [visit("1", email="a@example.com"), visit("2", email="b@example.com")]
    for event in [*people, visit("3"), visit("4", phone="+4915112345678")]:
        assert (await api.post(event)).status_code == 202
    rows = await api.fetch(
        "select p.root_id from event e join profile p using (tenant_id, profile_id)"
        " order by e.external_event_id"
    )
    first, second, third, fourth = (row["root_id"] for row in rows)
    assert len({first, second, fourth}) == 3
    assert third in {first, second}, "the device's own match"
    assert await api.fetch("select 1 from profile_merge") == []


@rule("4.17: two known customers are never merged, the clash is recorded, the event accepted")
@rule("4.17: on a clash the event goes to the match of highest priority")
async def test_two_known_customers_stay_two_and_the_clash_is_recorded(api: Api) -> None:
    def person(name: str, **identity: str) -> dict[str, Any]:
        return purchase(name, identity=identity)

    results = await api.results(
        [
            person("1", externalUserId="A", email="shared@example.com"),
            person("2", externalUserId="B", email="shared@example.com"),
            person("3", email="shared@example.com"),
        ]
    )
    assert [r["status"] for r in results] == ["accepted"] * 3
    rows = await api.fetch("select external_event_id, profile_id from event order by 1")
    assert rows[0]["profile_id"] == rows[2]["profile_id"] != rows[1]["profile_id"]
    conflicts = await api.fetch("select rule from identity_conflict")
    assert [row["rule"] for row in conflicts] == ["two_customers"]


@rule("4.17: merges keep an alias and a log")
async def test_a_merge_keeps_the_older_profile_an_alias_and_the_image_before(api: Api) -> None:
    await api.post(purchase("1", identity={"email": "a@example.com"}))
    await api.post(purchase("2", identity={"phone": "+4915112345678"}))
    await api.post(purchase("3", identity={"email": "a@example.com", "phone": "+4915112345678"}))
    rows = await api.fetch("select profile_id, root_id from profile order by created_at")
    older, younger = rows
    assert younger["root_id"] == older["profile_id"] == older["root_id"]
    merges = await api.fetch("select survivor_id, merged_id, image from profile_merge")
    assert [(m["survivor_id"], m["merged_id"]) for m in merges] == [
        (older["profile_id"], younger["profile_id"])
    ]
    image = json.loads(merges[0]["image"])
    assert (image["merged"]["known"], image["aliases"]) == (True, [])


@rule("4.18: normalisation")
async def test_identifiers_are_normalised_and_the_identity_as_sent_is_kept(api: Api) -> None:
    sent = {"email": "  Jürgen@MÜNCHEN.de ", "phone": "+49 (0)1511 2345678"}
    assert (await api.post(purchase("1", identity=sent))).status_code == 202
    rows = await api.fetch("select kind, value from identifier order by kind")
    assert [tuple(row) for row in rows] == [
        (2, "jürgen@xn--mnchen-3ya.de"),
        (3, "+4915112345678"),
    ]
    kept = await api.fetch("select identity from event")
    assert json.loads(kept[0]["identity"]) == sent


@rule("4.18: the source's default region")
async def test_a_national_phone_number_needs_the_source_s_region(api: Api) -> None:
    from app.access.queries import set_source

    event = purchase("1", identity={"phone": "0151 12345678"})
    assert (await api.post(event)).status_code == 422
    await set_source(api.tenant_id, "brand.pos", {"default_phone_region": "DE"})

    async def is_accepted() -> bool:
        return (await api.post(event)).status_code == 202

    await eventually(is_accepted)
    rows = await api.fetch("select value from identifier")
    assert [row["value"] for row in rows] == ["+4915112345678"]


@rule("4.18: what cannot be used is dropped with a warning, or refused when nothing is left")
async def test_an_unusable_identifier_is_a_warning_while_another_is_left(api: Api) -> None:
    with_other = await api.post(
        purchase("1", identity={"externalUserId": "A", "email": "not an email"})
    )
    alone = await api.post(purchase("2", identity={"email": "not an email"}))
    assert with_other.status_code == 202
    assert found({"errors": with_other.json()["warnings"]}) == [
        violation("/identity/email", "identifier_dropped")
    ]
    assert alone.status_code == 422
    assert found(alone.json()) == [violation("/identity/email", "identifier_invalid")]


@rule("4.18: placeholders never link")
async def test_placeholders_link_nobody(api: Api) -> None:
    results = await api.results(
        [
            purchase(str(n), identity={"externalUserId": f"C{n}", "deviceKey": "anonymous"})
            for n in range(3)
        ]
    )
    assert [r["warnings"][0]["code"] for r in results] == ["identifier_placeholder"] * 3
    rows = await api.fetch("select count(distinct profile_id) as people from event")
    assert rows[0]["people"] == 3


@rule("4.19: nothing is added to the fixed bodies but warnings")
async def test_fixed_bodies_have_no_other_members(api: Api) -> None:
    accepted = (await api.post(EXAMPLE)).json()
    duplicate = (await api.post(EXAMPLE)).json()
    assert set(accepted) == {"status", "event_id"}
    assert set(duplicate) == {"status", "original_event_id"}


# ── 4.20, 4.21: keys, limits ──────────────────────────────────────────────────────────────────


@rule("4.20: keys are kept as a hash and revoked within a second")
async def test_a_revoked_key_is_refused_within_a_second_and_its_secret_is_nowhere(api: Api) -> None:
    from app.access.queries import revoke_key

    key = await api.new_key()
    assert (await api.post(purchase("a"), key=key)).status_code == 202
    public_id, secret = key.split("_")[2:]
    rows = await api.fetch("select k::text as row from api_key k where public_id = $1", public_id)
    assert secret not in rows[0]["row"]
    await revoke_key(api.tenant_id, public_id)
    await asyncio.sleep(1)
    assert (await api.post(purchase("b"), key=key)).status_code == 401


@rule("4.20: expiry")
async def test_an_expired_key_is_refused(api: Api) -> None:
    key = await api.new_key(expires_at=datetime.now(UTC) + timedelta(seconds=0.5))
    assert (await api.post(purchase("a"), key=key)).status_code == 202
    await asyncio.sleep(0.6)
    assert (await api.post(purchase("b"), key=key)).status_code == 401


@rule("4.20: rotation with grace")
async def test_a_rotated_key_works_on_for_its_grace_only(api: Api) -> None:
    from app.access.queries import rotate_key

    key = await api.new_key()
    new = await rotate_key(
        api.tenant_id, key.split("_")[2], environment="test", grace=timedelta(seconds=1)
    )
    assert new is not None
    both = [await api.post(purchase(n), key=k) for n, k in (("a", key), ("b", new.text))]
    assert [r.status_code for r in both] == [202, 202]
    await asyncio.sleep(1.5)
    assert (await api.post(purchase("c"), key=key)).status_code == 401
    assert (await api.post(purchase("c"), key=new.text)).status_code == 202


@rule("4.20: the tenant comes from the key and from nowhere else")
async def test_another_tenant_s_key_writes_to_that_tenant_only(api: Api) -> None:
    from tests.support import seed

    other = await seed(api.database_url, "other")
    first = await api.post(EXAMPLE)
    second = await api.post(EXAMPLE, key=other.key)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["event_id"] != second.json()["event_id"]
    rows = await api.fetch("select count(distinct profile_id) as people from event")
    assert rows[0]["people"] == 2


@rule("4.21: rate limits count events, before any work")
async def test_a_key_over_its_limit_gets_429_and_every_answer_says_what_is_left(api: Api) -> None:
    key = await api.new_key(events_per_minute=10)
    first = await api.post(purchase("a"), key=key)
    many = await api.batch([purchase(str(n)) for n in range(9)], key=key)
    over = await api.batch(b"{this is not looked at", key=key)
    assert (first.status_code, many.status_code, over.status_code) == (202, 200, 429)
    assert first.headers["ratelimit-limit"] == "10"
    assert first.headers["ratelimit-remaining"] == "9"
    assert many.headers["ratelimit-remaining"] == "0"
    assert 0 < int(over.headers["retry-after"]) <= 60
    assert over.json()["error_code"] == "rate_limited"
    assert (await api.reconciliation()).received == 10


@rule("4.22: versions stamp the event")
async def test_an_event_is_stamped_with_the_version_that_judged_it(api: Api) -> None:
    await api.post(EXAMPLE)
    rows = await api.fetch(
        "select v.version, (select max(version) from event_type_version n"
        " where n.event_type_id = v.event_type_id) as newest"
        " from event e join event_type_version v on v.id = e.version_id"
    )
    assert rows[0]["version"] == rows[0]["newest"] == 2
