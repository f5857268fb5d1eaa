"""The audit trail: every change is there, can be found, and nothing can change it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.access.keys import Scope
from app.api.graphql.connection import encode_cursor
from tests.api.graphql.registry import NUMBER, TEXT, Registry, caller, document
from tests.api.graphql.support import GraphQL
from tests.support import Api

ROOT = Path(__file__).parents[3]
CHANGES = """
query ($filter: ChangesFilter, $first: Int! = 50, $after: String) {
  changes(filter: $filter, first: $first, after: $after) {
    nodes { at actor action subject reason before after } pageInfo { hasNextPage endCursor }
  }
}
"""


@pytest.fixture
def registry(api: Api) -> Registry:
    return Registry(GraphQL(api))


async def changes(registry: Registry, first: int = 50, **filter: Any) -> list[dict[str, Any]]:
    variables = {"filter": filter, "first": first}
    found = await registry.gql.data(CHANGES, variables, key=registry.key)
    nodes: list[dict[str, Any]] = found["changes"]["nodes"]
    return nodes


async def test_every_step_from_creation_to_retirement_leaves_a_line(
    api: Api, registry: Registry
) -> None:
    begun = datetime.now(UTC)
    await registry.event_type("gift_card_sold", owner="shops")
    await registry.send(
        "describeEventType", name="gift_card_sold", expectedRevision=1, owner="tills"
    )
    draft = await registry.draft("gift_card_sold", {}, summary="begun")
    await registry.send(
        "editDraft", id=draft["id"], expectedRevision=1, document=document(value=NUMBER)
    )
    await registry.send("submitDraft", id=draft["id"], expectedRevision=2)
    await registry.send("withdrawDraft", id=draft["id"], expectedRevision=3, reason="wait")
    await registry.publish(draft | {"revision": 4}, reason="first")
    author = await caller(api, Scope.SCHEMA_WRITE)
    other = await author.draft("gift_card_sold", document(value=TEXT))
    await registry.publish(other, reason="texts")
    last = await registry.draft("gift_card_sold", {})
    await registry.send("discardDraft", id=last["id"], expectedRevision=1)
    await registry.send(
        "retireEventType", name="gift_card_sold", expectedRevision=4, note="use another"
    )
    found = await changes(registry, subject="gift_card_sold")
    me, number = registry.public_id, draft["id"]
    assert [(c["subject"], c["action"], c["reason"], c["actor"]) for c in reversed(found)] == [
        ("gift_card_sold", "event_type_created", None, me),
        ("gift_card_sold", "event_type_described", None, me),
        (f"gift_card_sold/draft/{number}", "draft_created", "begun", me),
        (f"gift_card_sold/draft/{number}", "draft_edited", None, me),
        (f"gift_card_sold/draft/{number}", "draft_submitted", None, me),
        (f"gift_card_sold/draft/{number}", "draft_withdrawn", "wait", me),
        ("gift_card_sold/1", "version_published", "first", me),
        (f"gift_card_sold/draft/{other['id']}", "draft_created", None, author.public_id),
        ("gift_card_sold/2", "version_forced", "texts", me),
        (f"gift_card_sold/draft/{last['id']}", "draft_created", None, me),
        (f"gift_card_sold/draft/{last['id']}", "draft_discarded", None, me),
        ("gift_card_sold", "event_type_retired", "use another", me),
    ]
    described = found[-2]
    assert (described["before"], described["after"]) == ({"owner": "shops"}, {"owner": "tills"})
    assert found[0]["before"]["status"] == "ACTIVE"
    assert found[0]["after"]["status"] == "RETIRED"
    assert all(begun <= datetime.fromisoformat(change["at"]) for change in found)


async def test_changes_are_found_by_action_actor_and_time(api: Api, registry: Registry) -> None:
    other = await caller(api, Scope.SCHEMA_WRITE)
    await registry.event_type("gift_card_sold")
    await other.event_type("gift_card_used")
    by_other = await changes(registry, actor=other.public_id)
    assert [(c["subject"], c["action"]) for c in by_other] == [
        ("gift_card_used", "event_type_created")
    ]
    both = await changes(registry, action="event_type_created", first=2)
    assert [change["subject"] for change in both] == ["gift_card_used", "gift_card_sold"]
    assert {change["actor"] for change in await changes(registry, action="version_published")} == {
        "test"  # as the fixture's files were applied
    }
    at = datetime.fromisoformat(by_other[0]["at"])
    since = {"since": at.isoformat(), "until": (at + timedelta(seconds=1)).isoformat()}
    assert await changes(registry, window=since) == by_other
    before = {"until": at.isoformat()}
    assert by_other[0] not in await changes(registry, window=before)


async def test_a_subject_includes_what_is_below_it_and_no_namesake(registry: Registry) -> None:
    for name in ("gift_sold", "gift_sold_out", "gift_sold.twice"):
        await registry.event_type(name)
    await registry.published("gift_sold", document(value=NUMBER))
    found = await changes(registry, subject="gift_sold")
    assert {change["subject"].split("/")[0] for change in found} == {"gift_sold"}
    assert len(found) == 3


async def test_changes_of_keys_are_for_those_who_administer_keys(api: Api) -> None:
    reader = await caller(api, Scope.SCHEMA_READ)
    keeper = await caller(api, Scope.SCHEMA_READ, Scope.KEYS_ADMIN)
    assert await changes(reader, action="key_created") == []
    assert {c["action"] for c in await changes(keeper, action="key_created")} == {"key_created"}


async def test_changes_are_listed_newest_first_page_by_page(registry: Registry) -> None:
    everything = await changes(registry, first=200)
    assert [c["at"] for c in everything] == sorted((c["at"] for c in everything), reverse=True)
    pages: list[dict[str, Any]] = []
    after = None
    while True:
        found = (await registry.gql.data(CHANGES, {"first": 7, "after": after}))["changes"]
        pages += found["nodes"]
        after = found["pageInfo"]["endCursor"]
        if not found["pageInfo"]["hasNextPage"]:
            break
    assert pages == everything


@pytest.mark.parametrize("field", ["subject", "action", "actor"])
async def test_a_text_that_cannot_be_stored_is_no_filter(registry: Registry, field: str) -> None:
    errors = await registry.gql.errors(CHANGES, {"filter": {field: "\x00"}})
    assert [code for code, _ in errors] == ["BAD_USER_INPUT"]


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_a_made_up_cursor_is_a_mistake_of_its_caller(registry: Registry, at: str) -> None:
    errors = await registry.gql.errors(CHANGES, {"after": encode_cursor(at, 5)})
    assert errors == [("BAD_USER_INPUT", "after is not a cursor of this list")]


def test_no_statement_changes_or_deletes_a_line_of_the_trail() -> None:
    """Whatever a caller may do, the service has no way to do it."""
    changing = re.compile(
        r"(update|delete\s+from|truncate(\s+table)?|alter\s+table|drop\s+table)\s+(only\s+)?"
        r"registry_change\b",
        re.IGNORECASE,
    )
    in_piccolo = re.compile(r"RegistryChange\.(update|delete|alter|raw|objects|insert)\b")
    files = [*ROOT.glob("app/**/*.sql"), *ROOT.glob("app/**/*.py"), *ROOT.glob("migrations/*.py")]
    assert len(files) > 100
    for file in files:
        text = file.read_text()
        assert not changing.search(text), file
        assert not in_piccolo.search(text), file
    users = {file.name for file in files if re.search(r"\bRegistryChange\b", file.read_text())}
    assert users == {"audit.py", "tables.py"}
