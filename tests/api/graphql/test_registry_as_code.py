"""The same registry by files and over GraphQL: neither undoes the other's work unasked."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.registry.files import read_registry, write_registry
from app.registry.plan import Plan
from app.registry.service import Refused, apply_files, plan_files, pull_files
from app.segments.marks import MAX_MARKS
from tests.api.graphql.registry import NUMBER, TEXT, Registry, document
from tests.api.graphql.support import GraphQL
from tests.support import Api, run_cdp

NAME = "gift_card_sold"


class Files:
    """A folder of event types, as an engineer keeps it."""

    def __init__(self, folder: Path, tenant_id: int) -> None:
        self.folder = folder
        self._tenant_id = tenant_id

    def write(self, *documents: dict[str, Any]) -> None:
        folder = self.folder / NAME
        folder.mkdir(exist_ok=True)
        for number, said in enumerate(documents, 1):
            (folder / f"{number}.json").write_text(json.dumps(said))

    def read(self, version: int) -> Any:
        return json.loads((self.folder / NAME / f"{version}.json").read_text())

    async def plan(self) -> Plan:
        return await plan_files(self._tenant_id, self._files())

    async def apply(self, **options: Any) -> Plan:
        return await apply_files(self._tenant_id, self._files(), actor="cli", **options)

    async def pull(self) -> None:
        write_registry(self.folder, await pull_files(self._tenant_id))

    def _files(self) -> Any:
        return read_registry(self.folder, check_compatibility=False)


@pytest.fixture
def registry(api: Api) -> Registry:
    return Registry(GraphQL(api))


@pytest.fixture
async def files(api: Api, tmp_path: Path) -> Files:
    """One event type, applied: `gift_card_sold`, owned by shops."""
    files = Files(tmp_path, api.tenant_id)
    files.write(document(value=NUMBER) | {"x-owner": "shops"})
    await files.apply()
    return files


async def describe(registry: Registry, **given: Any) -> None:
    found = await registry.gql.data(f'{{ eventType(name: "{NAME}") {{ revision }} }}')
    answer = await registry.send(
        "describeEventType", name=NAME, expectedRevision=found["eventType"]["revision"], **given
    )
    assert answer["__typename"] == "EventTypeChanged", answer


async def owner_and_name(registry: Registry) -> tuple[str | None, str | None]:
    found = await registry.gql.data(f'{{ eventType(name: "{NAME}") {{ owner displayName }} }}')
    return found["eventType"]["owner"], found["eventType"]["displayName"]


async def test_what_was_described_over_graphql_stays_when_files_are_applied(
    files: Files, registry: Registry
) -> None:
    await describe(registry, owner="marketing", displayName="Gift card sold")
    plan = await files.plan()
    assert [(d.setting, d.registry, d.files, d.change) for d in plan.settings] == [
        ("owner", "marketing", "shops", "keep"),
        ("display_name", "Gift card sold", None, "keep"),
    ]
    files.write(
        document(value=NUMBER) | {"x-owner": "shops"},
        document(value=NUMBER, currency=TEXT) | {"x-owner": "shops"},
    )
    applied = await files.apply()
    assert [version.version for version in applied.new_versions] == [2]
    assert await owner_and_name(registry) == ("marketing", "Gift card sold")


async def test_what_both_changed_is_refused_until_somebody_decides(
    files: Files, registry: Registry
) -> None:
    await describe(registry, owner="marketing")
    files.write(document(value=NUMBER) | {"x-owner": "tills"})
    with pytest.raises(Refused) as refused:
        await files.apply()
    assert str(refused.value) == (
        "gift_card_sold: owner was changed to 'marketing' over the API, and to 'tills' in the"
        " files: pull it first, or let the files win"
    )
    assert await owner_and_name(registry) == ("marketing", None)
    await files.apply(files_win=True)
    assert await owner_and_name(registry) == ("tills", None)
    [change] = (
        await registry.gql.data(
            'query { changes(filter: {subject: "gift_card_sold", actor: "cli"}, first: 1)'
            " { nodes { action before after } } }"
        )
    )["changes"]["nodes"]
    assert change == {
        "action": "event_type_described",
        "before": {"owner": "marketing"},
        "after": {"owner": "tills"},
    }


async def test_a_change_back_over_graphql_is_not_undone_either(
    files: Files, registry: Registry
) -> None:
    files.write(document(value=NUMBER) | {"x-owner": "tills"})
    await files.apply()
    assert await owner_and_name(registry) == ("tills", None)
    await describe(registry, owner="shops")
    plan = await files.apply()
    assert [(d.setting, d.change) for d in plan.settings] == [("owner", "keep")]
    assert await owner_and_name(registry) == ("shops", None)


async def test_pull_takes_over_what_was_said_over_graphql(files: Files, registry: Registry) -> None:
    await describe(registry, owner="marketing", description="Somebody bought a gift card.")
    await registry.published(NAME, document(value=NUMBER, currency=TEXT))
    await describe(registry, displayName="Gift card sold")
    with pytest.raises(Refused, match=r"version 2: published by .*, but not in the files: pull it"):
        await files.apply()
    await files.pull()
    assert files.read(1) == document(value=NUMBER) | {"x-owner": "shops"}
    assert files.read(2) == document(value=NUMBER, currency=TEXT) | {
        "x-owner": "marketing",
        "x-display-name": "Gift card sold",
        "description": "Somebody bought a gift card.",
    }
    plan = await files.plan()
    assert (plan.new_versions, plan.drifts, plan.settings) == ([], [], [])
    files.write(files.read(1), files.read(2) | {"x-owner": "tills"})
    await files.apply(files_win=True)
    assert await owner_and_name(registry) == ("tills", "Gift card sold")


async def test_files_publish_nothing_to_a_type_that_was_retired_over_graphql(
    files: Files, registry: Registry
) -> None:
    await registry.send("retireEventType", name=NAME, expectedRevision=1, note="over")
    plan = await files.apply()
    assert plan.not_active == {NAME: "RETIRED"}
    files.write(document(value=NUMBER) | {"x-owner": "shops"}, document(value=NUMBER, a=TEXT))
    with pytest.raises(Refused, match="version 2: its event type is retired: restore it"):
        await files.apply()


async def test_files_are_held_against_the_compatibility_that_graphql_set(
    files: Files, registry: Registry
) -> None:
    await registry.send(
        "setCompatibility", name=NAME, expectedRevision=1, compatibility="FULL_TRANSITIVE"
    )
    wider = document(value=NUMBER, a=TEXT) | {"x-unknown-properties": "allow"}
    files.write(document(value=NUMBER) | {"x-owner": "shops"}, wider)
    with pytest.raises(Refused, match="the older version would refuse events of this one"):
        await files.apply()


async def test_files_lower_the_compatibility_with_a_reason_only(files: Files) -> None:
    said = document(value=NUMBER) | {"x-owner": "shops"}
    lower = {"x-compatibility": "NONE"}
    for documents in ([said | lower], [said, document(value=TEXT) | lower]):
        files.write(*documents)
        with pytest.raises(Refused, match="NONE promises less than BACKWARD_TRANSITIVE"):
            await files.apply()
    until = datetime.now(UTC) + timedelta(days=1)
    done = await files.apply(reason="an experiment", grace_until=until)
    assert [version.version for version in done.new_versions] == [2]


async def test_files_mark_no_more_properties_than_are_kept_of_one_type(files: Files) -> None:
    said = document(value=NUMBER) | {"x-owner": "shops"}
    first, second = (
        {f"{name}{n}": TEXT | {"x-segmentable": True} for n in range(MAX_MARKS - 10)}
        for name in ("a", "b")
    )
    no_longer = dict.fromkeys(first, TEXT)
    files.write(said, document(value=NUMBER, **first) | {"x-owner": "shops"})
    await files.apply()
    third = document(value=NUMBER, **no_longer, **second) | {"x-owner": "shops"}
    files.write(said, document(value=NUMBER, **first) | {"x-owner": "shops"}, third)
    with pytest.raises(Refused, match="version 3: 30 marked properties at most"):
        await files.apply()


async def test_a_version_from_files_makes_open_drafts_stale(
    files: Files, registry: Registry
) -> None:
    draft = await registry.draft(NAME, document(value=NUMBER, b=TEXT))
    files.write(document(value=NUMBER) | {"x-owner": "shops"}, document(value=NUMBER, a=TEXT))
    await files.apply()
    assert await registry.publish(draft) == {"__typename": "StaleRevision", "currentRevision": 2}


async def test_of_files_and_a_draft_that_are_published_at_once_one_is_version_2(
    files: Files, registry: Registry
) -> None:
    draft = await registry.draft(NAME, document(value=NUMBER, b=TEXT))
    files.write(document(value=NUMBER) | {"x-owner": "shops"}, document(value=NUMBER, a=TEXT))
    applied, published = await asyncio.gather(
        files.apply(), registry.publish(draft), return_exceptions=True
    )
    if isinstance(applied, Refused):
        assert "version 2: published by" in str(applied)
        assert published["version"]["number"] == 2
    else:
        assert published == {"__typename": "StaleRevision", "currentRevision": 2}
    found = await registry.gql.data(f'{{ eventType(name: "{NAME}") {{ versions {{ number }} }} }}')
    assert found["eventType"]["versions"] == [{"number": 2}, {"number": 1}]


async def test_files_bring_the_first_version_of_a_type_that_was_created_over_graphql(
    api: Api, registry: Registry, tmp_path: Path
) -> None:
    await registry.event_type(NAME, displayName="Gift card sold")
    files = Files(tmp_path, api.tenant_id)
    files.write(document(value=NUMBER) | {"x-owner": "shops"})
    plan = await files.apply()
    assert [version.version for version in plan.new_versions] == [1]
    assert await owner_and_name(registry) == ("shops", "Gift card sold")


async def test_the_plan_that_is_printed_shows_what_was_changed_over_graphql(
    api: Api, files: Files, registry: Registry
) -> None:
    await describe(registry, owner="marketing")
    await registry.send(
        "deprecateEventType",
        name=NAME,
        expectedRevision=2,
        sunsetAt="2030-01-01T00:00:00Z",
        note="use another",
    )
    said = run_cdp(
        "registry", "plan", str(files.folder), "--tenant", "demo",
        environment={"CDP_DATABASE_URL": api.database_url},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert "owner stays 'marketing', changed over the API; the files say 'shops'" in said.stdout
    assert "gift_card_sold: deprecated over the API; files leave that alone" in said.stdout
    won = run_cdp(
        "registry", "apply", str(files.folder), "--tenant", "demo", "--files-win",
        environment={"CDP_DATABASE_URL": api.database_url},
    )  # fmt: skip
    assert "gift_card_sold: owner 'marketing' → 'shops'" in won.stdout, won.stderr
