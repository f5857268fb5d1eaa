"""From draft to verdict: published over GraphQL, enforced on what is posted over HTTP."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.access import queries as access
from app.access.keys import Scope
from tests.api.graphql.registry import NUMBER, TEXT, Registry, caller, document
from tests.api.graphql.support import GraphQL
from tests.support import Api, Seed, eventually, purchase, service_in_process

BROKEN = [{"version": 1, "path": "/value", "rule": "type_changed"}]
VERSIONS = """
{ eventType(name: "gift_card_sold") {
    revision currentVersion { number }
    versions { number state forced reason publishedBy document properties { path types } }
} }
"""


@pytest.fixture
async def registry(api: Api) -> Registry:
    """An administrator, and an event type `gift_card_sold` that still has no version."""
    registry = Registry(GraphQL(api))
    await registry.event_type("gift_card_sold", owner="shops")
    return registry


_names = itertools.count()


async def gift(api: Api, value: object) -> Any:
    """The answer to a new event of the type."""
    event = {"eventType": "gift_card_sold", "properties": {"value": value}}
    return await api.post(purchase(f"g{next(_names)}", **event))


async def until_taken(api: Api, value: object) -> None:
    async def is_taken() -> bool:
        return bool((await gift(api, value)).status_code == 202)

    await eventually(is_taken)


async def versions(registry: Registry) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await registry.gql.data(VERSIONS))["eventType"]["versions"]
    return found


async def test_events_are_taken_once_the_first_version_is_published(
    api: Api, registry: Registry
) -> None:
    refused = await gift(api, 5)
    assert refused.json()["errors"][0]["code"] == "event_type_unregistered"
    draft = await registry.draft("gift_card_sold", document(value=NUMBER))
    assert await registry.publish(draft, reason="we sell them") == {
        "__typename": "DraftPublished",
        "version": {
            "number": 1,
            "state": "ACTIVE",
            "forced": False,
            "reason": "we sell them",
            "publishedBy": registry.public_id,
        },
        "eventType": {"revision": 2},
    }
    await until_taken(api, 5)
    wrong = await gift(api, "five")
    assert [e["code"] for e in wrong.json()["errors"]] == ["property_type"]
    [version] = await versions(registry)
    assert version["document"] == document(value=NUMBER) | {"x-owner": "shops"}
    assert version["properties"] == [{"path": "/value", "types": ["NUMBER"]}]


async def test_what_only_the_document_says_of_the_type_is_taken_over(registry: Registry) -> None:
    said = document(value=NUMBER) | {"x-owner": "tills", "description": "A gift card was bought."}
    draft = await registry.draft("gift_card_sold", said | {"x-compatibility": "NONE"})
    assert [(finding["path"], finding["severity"]) for finding in draft["findings"]] == [
        ("/x-owner", "WARNING"),
        ("/x-compatibility", "WARNING"),
    ]
    await registry.publish(draft)
    found = await registry.gql.data(
        '{ eventType(name: "gift_card_sold") { owner description compatibility } }'
    )
    assert found["eventType"] == {
        "owner": "shops",
        "description": "A gift card was bought.",
        "compatibility": "BACKWARD_TRANSITIVE",
    }


async def test_a_compatible_version_is_published_by_its_author(
    api: Api, registry: Registry
) -> None:
    writer = await caller(api, Scope.SCHEMA_WRITE)
    await writer.published("gift_card_sold", document(value=NUMBER))
    await writer.published("gift_card_sold", document(value=NUMBER, currency=TEXT))
    found = await versions(registry)
    assert [(v["number"], v["state"], v["publishedBy"]) for v in found] == [
        (2, "ACTIVE", writer.public_id),
        (1, "SUPERSEDED", writer.public_id),
    ]


@pytest.mark.contract("4.22: forcing needs a reason, an approver and four eyes")
async def test_an_incompatible_version_takes_a_reason_an_approver_and_another_person(
    api: Api, registry: Registry
) -> None:
    await registry.published("gift_card_sold", document(value=NUMBER))
    author = await caller(api, Scope.SCHEMA_WRITE, Scope.SCHEMA_APPROVE)
    writer = await caller(api, Scope.SCHEMA_WRITE)
    approver = await caller(api, Scope.SCHEMA_WRITE, Scope.SCHEMA_APPROVE)
    draft = await author.draft("gift_card_sold", document(value=TEXT))
    assert await approver.publish(draft) == {"__typename": "Incompatible", "breakages": BROKEN}
    refused = {"__typename": "NotPermitted"}
    why = {"reason": "tills send texts"}
    assert await writer.publish(draft, **why) == refused | {"reason": "scope_missing"}
    assert await author.publish(draft, **why) == refused | {"reason": "four_eyes"}
    published = await approver.publish(draft, **why)
    assert published["version"] == {
        "number": 2,
        "state": "ACTIVE",
        "forced": True,
        "reason": "tills send texts",
        "publishedBy": approver.public_id,
    }
    assert [(v["number"], v["state"]) for v in await versions(registry)] == [
        (2, "ACTIVE"),
        (1, "IN_GRACE"),
    ]


@pytest.mark.contract("4.22: four eyes are two people's, not two keys'")
async def test_a_rotated_key_is_the_same_person(api: Api, registry: Registry) -> None:
    await registry.published("gift_card_sold", document(value=NUMBER))
    first = await caller(api, Scope.SCHEMA_WRITE, Scope.SCHEMA_APPROVE)
    second = await rotated(api, first)
    draft = await second.draft("gift_card_sold", document(value=TEXT))
    third = await rotated(api, second)
    for same in (first, second, third):
        answer = await same.publish(draft, reason="mine")
        assert answer == {"__typename": "NotPermitted", "reason": "four_eyes"}


async def set_mode(registry: Registry, mode: str) -> None:
    found = await registry.gql.data('{ eventType(name: "gift_card_sold") { revision } }')
    answer = await registry.send(
        "setCompatibility",
        name="gift_card_sold",
        expectedRevision=found["eventType"]["revision"],
        compatibility=mode,
        reason="an experiment",
    )
    assert answer["__typename"] == "EventTypeChanged", answer


@pytest.mark.contract("4.22: four eyes are two people's, not two steps of one")
async def test_nobody_lowers_the_mode_to_break_it_alone(api: Api, registry: Registry) -> None:
    await registry.published("gift_card_sold", document(value=NUMBER))
    scopes = (Scope.SCHEMA_READ, Scope.SCHEMA_WRITE, Scope.SCHEMA_APPROVE)
    alone, other = await caller(api, *scopes), await caller(api, *scopes)
    for mode in ("BACKWARD", "NONE"):
        await set_mode(alone, mode)
    await alone.published("gift_card_sold", document(value=NUMBER, currency=TEXT))
    draft = await alone.draft("gift_card_sold", document(value=TEXT, currency=TEXT))
    answer = await alone.publish(draft, reason="mine")
    assert answer == {"__typename": "NotPermitted", "reason": "four_eyes"}
    assert (await other.publish(draft))["version"]["number"] == 3


async def test_who_breaks_what_another_ceased_to_promise_is_the_second_person(
    api: Api, registry: Registry
) -> None:
    await registry.published("gift_card_sold", document(value=NUMBER))
    writer = await caller(api, Scope.SCHEMA_WRITE)
    await set_mode(registry, "NONE")
    assert (await writer.published("gift_card_sold", document(value=TEXT)))["forced"] is False


async def test_whoever_only_edited_a_draft_cannot_force_it_either(
    api: Api, registry: Registry
) -> None:
    await registry.published("gift_card_sold", document(value=NUMBER))
    editor = await caller(api, Scope.SCHEMA_WRITE, Scope.SCHEMA_APPROVE)
    draft = await registry.draft("gift_card_sold", document(value=NUMBER))
    edited = await editor.send(
        "editDraft", id=draft["id"], expectedRevision=1, document=document(value=TEXT)
    )
    answer = await editor.publish(edited["draft"], reason="mine")
    assert answer == {"__typename": "NotPermitted", "reason": "four_eyes"}


@pytest.mark.contract("4.22: a grace window in which both versions are accepted")
async def test_in_the_grace_window_both_pass_and_after_it_only_the_new_one(
    api: Api, registry: Registry
) -> None:
    await registry.published("gift_card_sold", document(value=NUMBER))
    await until_taken(api, 5)
    author = await caller(api, Scope.SCHEMA_WRITE)
    draft = await author.draft("gift_card_sold", document(value=TEXT))
    until = datetime.now(UTC) + timedelta(seconds=2)
    await registry.publish(draft, reason="tills send texts", graceUntil=until.isoformat())
    await until_taken(api, "five")
    old = await gift(api, 5)
    assert old.status_code == 202
    assert [w["code"] for w in old.json()["warnings"]] == ["version_superseded"]

    async def is_over() -> bool:
        return bool((await gift(api, 5)).status_code == 422)

    await eventually(is_over)
    assert (await gift(api, "five")).status_code == 202
    assert [v["state"] for v in await versions(registry)] == ["ACTIVE", "SUPERSEDED"]


async def test_what_was_forced_once_is_not_held_against_later_versions(
    api: Api, registry: Registry
) -> None:
    await registry.published("gift_card_sold", document(value=NUMBER))
    author = await caller(api, Scope.SCHEMA_WRITE)
    draft = await author.draft("gift_card_sold", document(value=TEXT))
    await registry.publish(draft, reason="tills send texts")
    follow_up = await author.published("gift_card_sold", document(value=TEXT, currency=TEXT))
    assert (follow_up["number"], follow_up["forced"]) == (3, False)


async def test_the_type_of_a_property_that_segments_are_built_on_is_not_changed_lightly(
    registry: Registry,
) -> None:
    await registry.published("gift_card_sold", document(value={"type": "integer"}))
    draft = await registry.draft("gift_card_sold", document(value=NUMBER))
    await registry.gql.data(
        'mutation { markSegmentable(eventType: "gift_card_sold", path: "/value") { __typename } }'
    )
    assert await registry.publish(draft) == {"__typename": "StaleRevision", "currentRevision": 2}
    answer = await registry.publish(draft | {"revision": 2})
    assert answer["breakages"] == [
        {"version": 1, "path": "/value", "rule": "segmentable_type_changed"}
    ]


async def test_a_version_marks_no_more_properties_than_are_kept_of_one_type(
    registry: Registry,
) -> None:
    marked = TEXT | {"x-segmentable": True}
    first, second = ({f"{part}{n}": marked for n in range(20)} for part in ("a", "b"))
    await registry.published("gift_card_sold", document(**first))
    draft = await registry.draft("gift_card_sold", document(**dict.fromkeys(first, TEXT), **second))
    answer = await registry.publish(draft)
    assert answer == {
        "__typename": "Invalid",
        "problems": [{"path": "/properties", "rule": "too_many_marks"}],
    }


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"graceDays": 0}, ("/graceDays", "range")),
        ({"graceDays": 400}, ("/graceDays", "range")),
        ({"graceUntil": "2020-01-01T00:00:00Z"}, ("/graceUntil", "grace_range")),
        ({"graceUntil": "9999-12-31T23:59:59-14:00"}, ("/graceUntil", "grace_range")),
        ({"graceUntil": "2030-01-01T00:00:00"}, ("/graceUntil", "offset")),
        ({"graceDays": 3, "graceUntil": "2030-01-01T00:00:00Z"}, ("", "one_of")),
        ({"reason": "  "}, ("/reason", "text_length")),
    ],
)
async def test_a_grace_that_cannot_be_is_refused_with_the_place(
    registry: Registry, given: dict[str, Any], problem: tuple[str, str]
) -> None:
    draft = await registry.draft("gift_card_sold", document(value=NUMBER))
    assert await registry.publish(draft, **given) == {
        "__typename": "Invalid",
        "problems": [{"path": problem[0], "rule": problem[1]}],
    }


async def test_a_draft_that_changes_nothing_is_no_version(registry: Registry) -> None:
    await registry.published("gift_card_sold", document(value=NUMBER))
    draft = await registry.draft("gift_card_sold", document(value=NUMBER))
    answer = await registry.publish(draft)
    assert answer == {"__typename": "NotPermitted", "reason": "nothing_changed"}


async def test_nothing_is_published_to_a_retired_event_type(registry: Registry) -> None:
    draft = await registry.draft("gift_card_sold", document(value=NUMBER))
    await registry.send("retireEventType", name="gift_card_sold", expectedRevision=1, note="over")
    answer = await registry.publish(draft)
    assert answer == {"__typename": "NotPermitted", "reason": "event_type_retired"}


async def test_a_published_draft_leads_to_its_version_and_is_over(registry: Registry) -> None:
    draft = await registry.draft("gift_card_sold", document(value=NUMBER))
    await registry.publish(draft)
    found = await registry.gql.data(
        "query ($id: ID!) { draft(id: $id) { state revision version { number } } }",
        {"id": draft["id"]},
    )
    assert found["draft"] == {"state": "PUBLISHED", "revision": 2, "version": {"number": 1}}
    again = await registry.publish(draft | {"revision": 2})
    assert again == {"__typename": "NotPermitted", "reason": "draft_state"}


@pytest.mark.contract("4.22: versions are numbered and immutable")
async def test_of_many_who_publish_at_once_one_does_and_numbers_have_no_gap(
    api: Api, registry: Registry
) -> None:
    draft = await registry.draft("gift_card_sold", document(value=NUMBER))
    answers = await asyncio.gather(*(registry.publish(draft) for _ in range(6)))
    assert sorted(answer["__typename"] for answer in answers) == [
        "DraftPublished",
        *["StaleRevision"] * 5,
    ]
    drafts = [
        await registry.draft("gift_card_sold", document(**{"value": NUMBER, f"p{n}": TEXT}))
        for n in range(4)
    ]
    answers = await asyncio.gather(*(registry.publish(one) for one in drafts))
    assert sorted(answer["__typename"] for answer in answers) == [
        "DraftPublished",
        *["StaleRevision"] * 3,
    ]
    assert [v["number"] for v in await versions(registry)] == [2, 1]


@pytest.mark.contract("4.22: a publish is enforced on every worker")
async def test_a_publish_over_graphql_is_enforced_on_every_worker(
    database_url: str, seeded: Seed
) -> None:
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(service_in_process(database_url, seeded))
            for _ in range(3)
        ]
        assert [(await gift(worker, 5)).status_code for worker in workers] == [422] * 3
        registry = Registry(GraphQL(workers[0]))
        await registry.event_type("gift_card_sold")
        await registry.published("gift_card_sold", document(value=NUMBER))
        for worker in workers:
            await until_taken(worker, 5)


async def rotated(api: Api, old: Registry) -> Registry:
    """The same caller with the key that replaced the old one."""
    new = await access.rotate_key(
        api.tenant_id, old.public_id, environment="test", grace=timedelta(days=1)
    )
    assert new is not None
    return Registry(GraphQL(api), new.text)
