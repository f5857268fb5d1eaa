"""Drafts over GraphQL: written, reviewed, and what they would break."""

from __future__ import annotations

from typing import Any

import pytest

from app.access.keys import Scope
from app.registry.governance.drafts import MAX_OPEN_DRAFTS
from tests.api.graphql.registry import NUMBER, TEXT, Registry, caller, document
from tests.api.graphql.support import GraphQL
from tests.support import Api

CHECK = """
query ($input: CheckCompatibilityInput!) {
  checkCompatibility(input: $input) {
    __typename
    ... on CompatibilityReport {
      mode compatible
      findings { path rule severity }
      breakages { version path rule old new message mend }
    }
    ... on NotFound { message }
    ... on Invalid { problems { path rule } }
  }
}
"""


@pytest.fixture
async def registry(api: Api) -> Registry:
    """An administrator, and an event type `gift_card_sold` with one version."""
    registry = Registry(GraphQL(api))
    await registry.event_type("gift_card_sold")
    await registry.published("gift_card_sold", document(value=NUMBER))
    return registry


async def check(registry: Registry, **given: Any) -> Any:
    return (await registry.gql.data(CHECK, {"input": given}))["checkCompatibility"]


async def test_a_draft_takes_no_number_and_knows_what_it_is_based_on(registry: Registry) -> None:
    wider = document(value=NUMBER, currency=TEXT)
    draft = await registry.draft("gift_card_sold", wider, summary="currencies")
    assert draft == {
        "id": draft["id"],
        "state": "DRAFT",
        "document": wider,
        "summary": "currencies",
        "basedOn": 1,
        "authors": [registry.public_id],
        "revision": 1,
        "findings": [],
    }
    found = await registry.gql.data(
        '{ eventType(name: "gift_card_sold") { versions { number } drafts { id } } }'
    )
    assert found["eventType"] == {"versions": [{"number": 1}], "drafts": [{"id": draft["id"]}]}


async def test_a_draft_may_have_faults_until_it_is_submitted(registry: Registry) -> None:
    draft = await registry.draft("gift_card_sold", document(value=TEXT | {"minLength": -1}))
    fault = {"path": "/properties/value/minLength", "rule": "keyword_value"}
    assert draft["findings"] == [fault | {"severity": "ERROR"}]
    refused = await registry.send("submitDraft", id=draft["id"], expectedRevision=1)
    assert refused == {"__typename": "Invalid", "problems": [fault]}
    assert await registry.publish(draft) == refused
    mended = await registry.send(
        "editDraft", id=draft["id"], expectedRevision=1, document=document(value=NUMBER, a=TEXT)
    )
    submitted = await registry.send("submitDraft", id=draft["id"], expectedRevision=2)
    assert (mended["draft"]["revision"], submitted["draft"]["state"]) == (2, "IN_REVIEW")


@pytest.mark.parametrize(
    ("proposed", "problem"),
    [
        ([], ("/document", "schema_not_object")),
        ("text", ("/document", "schema_not_object")),
        ({"type": "object", "title": "\x00"}, ("/document/title", "text_not_storable")),
        ({"type": "object", "title": "x" * 70_000}, ("/document", "document_too_large")),
    ],
)
async def test_what_could_not_even_be_kept_is_no_draft(
    registry: Registry, proposed: Any, problem: tuple[str, str]
) -> None:
    answer = await registry.send("createDraft", eventType="gift_card_sold", document=proposed)
    assert answer == {
        "__typename": "Invalid",
        "problems": [{"path": problem[0], "rule": problem[1]}],
    }


async def test_a_draft_in_review_is_withdrawn_before_it_is_edited(registry: Registry) -> None:
    draft = await registry.draft("gift_card_sold", document(value=NUMBER, a=TEXT))
    await registry.send("submitDraft", id=draft["id"], expectedRevision=1)
    edit = {"id": draft["id"], "document": document(value=NUMBER, b=TEXT)}
    refused = await registry.send("editDraft", expectedRevision=2, **edit)
    assert refused == {"__typename": "NotPermitted", "reason": "draft_state"}
    withdrawn = await registry.send(
        "withdrawDraft", id=draft["id"], expectedRevision=2, reason="b is missing"
    )
    assert withdrawn["draft"]["state"] == "DRAFT"
    edited = await registry.send("editDraft", expectedRevision=3, **edit)
    assert edited["draft"]["document"] == edit["document"]


async def test_a_discarded_draft_stays_readable_and_is_over(registry: Registry) -> None:
    draft = await registry.draft("gift_card_sold", document(value=TEXT))
    discarded = await registry.send(
        "discardDraft", id=draft["id"], expectedRevision=1, reason="not needed"
    )
    assert discarded["draft"]["state"] == "DISCARDED"
    for mutation in ("submitDraft", "withdrawDraft", "discardDraft", "publishDraft"):
        answer = await registry.send(mutation, id=draft["id"], expectedRevision=2)
        assert answer == {"__typename": "NotPermitted", "reason": "draft_state"}
    found = await registry.gql.data(
        "query ($id: ID!) { draft(id: $id) { state breakages { rule } version { number } } }",
        {"id": draft["id"]},
    )
    assert found["draft"] == {"state": "DISCARDED", "breakages": None, "version": None}


async def test_whoever_edits_a_draft_becomes_one_of_its_authors(
    api: Api, registry: Registry
) -> None:
    other = await caller(api, Scope.SCHEMA_WRITE)
    draft = await registry.draft("gift_card_sold", document(value=TEXT))
    edit = {"id": draft["id"], "document": document(value=NUMBER)}
    await other.send("editDraft", expectedRevision=1, **edit)
    again = await other.send("editDraft", expectedRevision=2, **edit)
    assert again["draft"]["authors"] == [registry.public_id, other.public_id]


@pytest.mark.contract("4.9: a stale expectedRevision is a conflict")
async def test_every_step_of_a_draft_needs_the_revision_it_was_decided_on(
    registry: Registry,
) -> None:
    draft = await registry.draft("gift_card_sold", document(value=TEXT))
    for mutation in ("submitDraft", "withdrawDraft", "discardDraft", "publishDraft"):
        stale = await registry.send(mutation, id=draft["id"], expectedRevision=7)
        assert stale == {"__typename": "StaleRevision", "currentRevision": 1}
    stale = await registry.send("editDraft", id=draft["id"], expectedRevision=7, document={})
    assert stale == {"__typename": "StaleRevision", "currentRevision": 1}


@pytest.mark.parametrize("id", ["0", "-1", "999", "abc", "99999999999999999999", "1.5", ""])
async def test_an_id_that_is_none_is_a_draft_that_is_not_there(registry: Registry, id: str) -> None:
    for mutation in ("submitDraft", "discardDraft", "publishDraft"):
        answer = await registry.send(mutation, id=id, expectedRevision=1)
        assert answer == {"__typename": "NotFound", "message": "there is no such draft"}


async def test_a_version_published_beside_it_makes_every_open_draft_stale(
    registry: Registry,
) -> None:
    first = await registry.draft("gift_card_sold", document(value=NUMBER, a=TEXT))
    second = await registry.draft("gift_card_sold", document(value=NUMBER, b=TEXT))
    assert (await registry.publish(first))["version"]["number"] == 2
    assert await registry.publish(second) == {"__typename": "StaleRevision", "currentRevision": 2}
    broken = await registry.publish(second | {"revision": 2})
    rule = "property_removed_while_unknown_rejected"
    assert broken["breakages"] == [{"version": 2, "path": "/a", "rule": rule}]


async def test_what_is_published_fits_into_a_file_with_the_settings_of_its_type(
    registry: Registry,
) -> None:
    large = document(value=NUMBER | {"description": "x" * 64_000})
    draft = await registry.draft("gift_card_sold", large)
    assert draft["findings"] == []
    await registry.send(
        "describeEventType", name="gift_card_sold", expectedRevision=2, description="x" * 2_000
    )
    assert (await registry.publish(draft))["__typename"] == "StaleRevision"
    assert await registry.publish(draft | {"revision": 2}) == {
        "__typename": "Invalid",
        "problems": [{"path": "", "rule": "document_too_large"}],
    }


async def test_an_event_type_has_only_so_many_open_drafts(registry: Registry) -> None:
    for _ in range(MAX_OPEN_DRAFTS):
        await registry.draft("gift_card_sold", {})
    answer = await registry.send("createDraft", eventType="gift_card_sold", document={})
    assert answer == {"__typename": "NotPermitted", "reason": "too_many_drafts"}


async def test_drafts_are_listed_newest_first_by_state(registry: Registry) -> None:
    ids = [(await registry.draft("gift_card_sold", {}))["id"] for _ in range(3)]
    await registry.send("discardDraft", id=ids[1], expectedRevision=1)
    listed = """
    query ($type: String, $states: [DraftState!], $after: String) {
      drafts(eventType: $type, states: $states, first: 2, after: $after) {
        nodes { id state } pageInfo { hasNextPage endCursor }
      }
    }
    """
    page = (await registry.gql.data(listed, {"type": "gift_card_sold"}))["drafts"]
    assert [node["id"] for node in page["nodes"]] == [ids[2], ids[1]]
    after = page["pageInfo"]["endCursor"]
    page = (await registry.gql.data(listed, {"after": after}))["drafts"]
    assert page["nodes"][0]["id"] == ids[0]
    page = (await registry.gql.data(listed, {"states": ["DISCARDED"]}))["drafts"]
    assert page["nodes"] == [{"id": ids[1], "state": "DISCARDED"}]
    assert (await registry.gql.data(listed, {"type": "nobody_s"}))["drafts"]["nodes"] == []


@pytest.mark.contract("4.22: an incompatible change says which path breaks which rule")
async def test_a_check_tells_every_breakage_and_what_would_mend_it(registry: Registry) -> None:
    changed = document(value=TEXT, currency=TEXT) | {"required": ["currency"]}
    answer = await check(registry, eventType="gift_card_sold", document=changed)
    assert answer == {
        "__typename": "CompatibilityReport",
        "mode": "BACKWARD_TRANSITIVE",
        "compatible": False,
        "findings": [],
        "breakages": [
            {
                "version": 1,
                "path": "/value",
                "rule": "type_changed",
                "old": "number",
                "new": "string",
                "message": "values of another type were accepted",
                "mend": "Keep the type and add a property of another name.",
            },
            {
                "version": 1,
                "path": "/currency",
                "rule": "required_property_added",
                "old": False,
                "new": True,
                "message": "events without it were accepted",
                "mend": "Add it as an optional property.",
            },
        ],
    }
    draft = await registry.draft("gift_card_sold", changed)
    assert await check(registry, draftId=draft["id"]) == answer


async def test_a_check_holds_against_every_version_under_a_transitive_mode(
    api: Api, registry: Registry
) -> None:
    limited = NUMBER | {"maximum": 10}
    await registry.send(
        "setCompatibility", name="gift_card_sold", expectedRevision=2, compatibility="NONE",
        reason="a test",
    )  # fmt: skip
    other = await caller(api, Scope.SCHEMA_WRITE)
    await other.published("gift_card_sold", document(value=limited))
    narrower = {"eventType": "gift_card_sold", "document": document(value=NUMBER | {"maximum": 5})}
    broken: dict[str, Any] = {}
    for revision, mode in enumerate(("BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD"), 4):
        await registry.send(
            "setCompatibility", name="gift_card_sold", expectedRevision=revision,
            compatibility=mode, reason="a test",
        )  # fmt: skip
        answer = await check(registry, **narrower)
        broken[mode] = [entry["version"] for entry in answer["breakages"]]
    assert broken == {"BACKWARD": [2], "BACKWARD_TRANSITIVE": [1, 2], "FORWARD": []}


async def test_a_document_with_faults_is_not_judged_and_not_called_compatible(
    registry: Registry,
) -> None:
    answer = await check(registry, eventType="gift_card_sold", document=[1])
    assert (answer["compatible"], answer["breakages"]) == (False, [])
    assert [finding["rule"] for finding in answer["findings"]][:1] == ["schema_not_object"]


@pytest.mark.parametrize(
    "given", [{}, {"draftId": "1", "eventType": "a"}, {"eventType": "a"}, {"document": {}}]
)
async def test_a_check_takes_a_draft_or_a_type_and_a_document(
    registry: Registry, given: dict[str, Any]
) -> None:
    assert (await check(registry, **given))["__typename"] == "Invalid"


DEFINITIONS = """
mutation ($input: CreateDraftInput!) {
  createDraft(input: $input) {
    ... on DraftSaved { draft { id document definitions { name type required } } }
    ... on Invalid { problems { path rule } }
  }
}
"""


async def test_a_draft_from_definitions_keeps_what_else_the_newest_version_says(
    registry: Registry,
) -> None:
    await registry.published(
        "gift_card_sold", document(value=NUMBER) | {"x-unknown-properties": "strip"}
    )
    given = {
        "eventType": "gift_card_sold",
        "definitions": [
            {"name": "value", "type": "NUMBER", "required": True},
            {"name": "currency", "type": "STRING"},
        ],
    }
    answer = (await registry.gql.data(DEFINITIONS, {"input": given}))["createDraft"]["draft"]
    assert answer["document"] == document(value=NUMBER, currency=TEXT) | {
        "x-unknown-properties": "strip",
        "required": ["value"],
    }
    assert answer["definitions"] == [
        {"name": "value", "type": "NUMBER", "required": True},
        {"name": "currency", "type": "STRING", "required": False},
    ]
    edited = await registry.send(
        "editDraft",
        id=answer["id"],
        expectedRevision=1,
        definitions=[{"name": "value", "type": "NUMBER"}],
    )
    assert edited["draft"]["document"] == document(value=NUMBER) | {"x-unknown-properties": "strip"}


@pytest.mark.parametrize("given", [{}, {"document": {}, "definitions": []}])
async def test_a_draft_is_given_in_one_form(registry: Registry, given: dict[str, Any]) -> None:
    answer = await registry.send("createDraft", eventType="gift_card_sold", **given)
    assert answer == {"__typename": "Invalid", "problems": [{"path": "", "rule": "one_of"}]}
