"""`cdp events export`: what is in it, of whom, and how it looks."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import gzip
import json
import os
import stat
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import zstandard

from tests.api.test_cli import Cdp, problem, write_type
from tests.api.test_cli import cdp as cdp
from tests.support import (
    Seed,
    clean_environment,
    purchase,
    run_cdp,
    seed,
    service_in_process,
    service_process,
)

Ids = list[str]

MAY, JUNE = "2026-05-20T12:45:00Z", "2026-06-20T12:45:00Z"
ANN, BOB = {"externalUserId": "ann", "email": "ann@example.com"}, {"externalUserId": "bob"}

OFFER_1 = {"value": {"type": "number"}, "code": {"type": "string", "x-pii": "direct"}}
OFFER_2 = OFFER_1 | {"note": {"type": "string"}}


def offer(name: str, **changes: Any) -> dict[str, Any]:
    properties = {"value": 5, "code": "secret-7"}
    return purchase(name, eventType="offer_made", properties=properties) | changes


EVENTS: list[dict[str, Any]] = [
    purchase("p1", identity=ANN, properties={"order_id": "=1", "amount": 10, "currency": "USD"}),
    purchase("p2", identity=BOB, occurredAt=JUNE),
    purchase("p3", identity={"email": "ANN@example.com"}, source="brand.web"),
    purchase("p4", identity=BOB | {"phone": "no phone"}),
    offer("o1", identity=BOB),
]
LATER: list[dict[str, Any]] = [offer("o2", identity=ANN, properties={"value": 6, "note": "n"})]


async def deliver(database_url: str, seeded: Seed, events: list[dict[str, Any]]) -> None:
    async with service_in_process(database_url, seeded) as api:
        for result in await api.results(list(events)):
            assert result["status"] == "accepted", result


@pytest.fixture
def delivered(cdp: Cdp, database_url: str, seeded: Seed, tmp_path: Path) -> Cdp:
    """EVENTS, then a second version of `offer_made`, then LATER."""
    for versions, events in (([OFFER_1], EVENTS), ([OFFER_1, OFFER_2], LATER)):
        folder = write_type(tmp_path / "registry", "offer_made", versions)
        assert cdp("registry", "apply", str(folder), "--tenant", "demo").exit_code == 0
        asyncio.run(deliver(database_url, seeded, events))
    return cdp


def lines(cdp: Cdp, *arguments: str) -> list[dict[str, Any]]:
    result = cdp("events", "export", "--tenant", "demo", *arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return [json.loads(line, parse_float=Decimal) for line in result.stdout.splitlines()]


def names(cdp: Cdp, *arguments: str) -> str:
    """The external ids of an export, sorted."""
    return " ".join(sorted(line["externalEventId"] for line in lines(cdp, *arguments)))


def refusal(cdp: Cdp, *arguments: str) -> str:
    return problem(cdp("events", "export", "--tenant", "demo", *arguments))


def test_every_filter_selects_what_was_delivered(delivered: Cdp, database_url: str) -> None:
    rows = asyncio.run(fetch(database_url, "select external_event_id, received_at from event"))
    received_at = {row["external_event_id"]: row["received_at"].isoformat() for row in rows}
    ann = lines(delivered, "--type", "offer_made", "--schema-version", "2")[0]["profile_id"]
    for arguments, expected in {
        "": "o1 o2 p1 p2 p3 p4",
        "--type purchase_completed": "p1 p2 p3 p4",
        "--type offer_made --schema-version 1": "o1",
        "--type offer_made --schema-version 2": "o2",
        "--source brand.web": "p3",
        "--type offer_made --source brand.web": "",
        f"--profile {ann}": "o2 p1 p3",
        f"--profile {ann} --type purchase_completed": "p1 p3",
        "--has-warnings": "p4",
        "--no-warnings --type purchase_completed": "p1 p2 p3",
        f"--occurred-since {JUNE}": "p2",
        f"--occurred-until {JUNE}": "o1 o2 p1 p3 p4",
        "--occurred-since 2026-06-20 --type purchase_completed": "p2",
        f"--received-since {received_at['o2']}": "o2",
        f"--received-until {received_at['o2']} --type offer_made": "o1",
        "--received-until 2026-01-01": "",
        "--type purchase_completed --where /amount>=120.50": "p2 p3 p4",
        "--type purchase_completed --where /amount=10": "p1",
        "--type purchase_completed --where /store_id=store_42 --where /amount<5e2": "p2 p3 p4",
        "--type purchase_completed --where !/store_id": "p1",
        "--type purchase_completed --where /store_id --source brand.web": "p3",
        f"--type purchase_completed --where /amount>1 --profile {ann}": "p1 p3",
    }.items():
        assert names(delivered, *arguments.split()) == expected, arguments


def test_the_newest_come_first_and_a_limit_keeps_those(delivered: Cdp) -> None:
    received = [line["received_at"] for line in lines(delivered)]
    assert received == sorted(received, reverse=True)
    assert [line["externalEventId"] for line in lines(delivered, "--limit", "1")] == ["o2"]
    by_occurrence = lines(delivered, "--type", "purchase_completed", "--limit", "1")
    assert [line["externalEventId"] for line in by_occurrence] == ["p2"]


def test_personal_data_is_hidden_until_it_is_asked_for(delivered: Cdp) -> None:
    [hidden] = lines(delivered, "--type", "offer_made", "--schema-version", "1")
    [shown] = lines(delivered, "--type", "offer_made", "--schema-version", "1", "--pii")
    assert (hidden["identity"], hidden["properties"], hidden["masked"]) == (
        {"externalUserId": "***"},
        {"code": "***", "value": 5},
        True,
    )
    assert shown["identity"] == BOB
    assert shown["properties"] == {"code": "secret-7", "value": 5}
    assert "masked" not in shown


def test_what_is_hidden_cannot_be_asked_about(cdp: Cdp, database_url: str, tmp_path: Path) -> None:
    code = OFFER_1["code"] | {"x-segmentable": True}
    folder = write_type(tmp_path, "offer_made", [{"code": code}])
    assert cdp("registry", "apply", str(folder), "--tenant", "demo").exit_code == 0
    asyncio.run(
        fetch(database_url, "update segment_property set state = 'READY', ready_at = now()")
    )
    asked = ("--type", "offer_made", "--where", "/code=secret-7")
    assert (
        refusal(cdp, *asked) == "--where '/code=secret-7': /code is personal data: it needs --pii"
    )
    assert lines(cdp, *asked, "--pii") == []


def test_a_person_is_the_profile_of_today(delivered: Cdp) -> None:
    profiles = {line["externalEventId"]: line["profile_id"] for line in lines(delivered)}
    assert profiles["p1"] == profiles["p3"] == profiles["o2"]
    assert profiles["p2"] == profiles["p4"] == profiles["o1"] != profiles["p1"]


async def test_another_tenant_s_events_are_not_in_it(delivered: Cdp, database_url: str) -> None:
    other = await seed(database_url, "other")
    await deliver(database_url, other, [purchase("theirs")])
    assert "theirs" not in await asyncio.to_thread(names, delivered)
    ours = (await asyncio.to_thread(lines, delivered))[0]["profile_id"]
    result = await asyncio.to_thread(
        delivered, "events", "export", "--tenant", "other", "--profile", ours
    )
    assert str(result.exception) == f"there is no profile {ours!r}"


@pytest.mark.parametrize("name", ["e.ndjson", "e.ndjson.gz", "e.ndjson.zst"])
def test_an_export_can_be_imported_into_another_tenant(
    delivered: Cdp, database_url: str, tmp_path: Path, name: str
) -> None:
    file = tmp_path / name
    exported = delivered("events", "export", "--tenant", "demo", "--pii", "-o", str(file))
    assert exported.stderr == f"6 events in {file}\n"
    other = asyncio.run(seed(database_url, "other"))
    registry = ("registry", "apply", str(tmp_path / "registry"), "--tenant", "other")
    assert delivered(*registry).exit_code == 0
    with service_process({"CDP_DATABASE_URL": database_url}) as service:
        there = ("--url", service.url, "--key", other.key)
        imported = delivered("events", "import", str(file), *there)
        assert "6 accepted, 0 duplicate, 0 refused" in imported.stdout
    sent = """
        select external_event_id, s.name, t.name, occurred_at, identity::text, properties::text
        from event e join source s on s.id = e.source_id join event_type t on t.id = e.event_type_id
        where e.tenant_id = (select id from tenant where name = $1) order by 1
    """
    assert asyncio.run(fetch(database_url, sent, "other")) == asyncio.run(
        fetch(database_url, sent, "demo")
    )


def test_an_export_delivered_again_changes_nothing(
    cdp: Cdp, database_url: str, seeded: Seed, tmp_path: Path
) -> None:
    events = [purchase("dated"), purchase("undated")]
    del events[1]["occurredAt"]
    asyncio.run(deliver(database_url, seeded, events))
    file = tmp_path / "e.ndjson"
    cdp("events", "export", "--tenant", "demo", "--pii", "-o", str(file))
    with service_process({"CDP_DATABASE_URL": database_url}) as service:
        there = ("--url", service.url, "--key", seeded.key)
        imported = cdp("events", "import", str(file), *there)
    assert "0 accepted, 1 duplicate, 1 refused" in imported.stdout
    [refused] = (tmp_path / "e.rejects.ndjson").read_text().splitlines()
    assert json.loads(refused)["error_code"] == "idempotency_conflict"


def test_an_export_without_personal_data_is_not_imported(delivered: Cdp, tmp_path: Path) -> None:
    file = tmp_path / "e.ndjson"
    delivered("events", "export", "--tenant", "demo", "-o", str(file))
    refused = delivered("events", "import", str(file), "--url", "http://127.0.0.1:1", "--key", "k")
    assert str(refused.exception) == (
        "line 1 was exported without --pii: its personal values are not there"
    )
    assert not (tmp_path / "e.rejects.ndjson").exists()


def test_csv_of_one_type_has_a_column_for_each_property_of_its_versions(
    delivered: Cdp, tmp_path: Path
) -> None:
    file = tmp_path / "offers.csv.gz"
    wanted = ("--type", "offer_made", "--pii", "-o", str(file))
    assert delivered("events", "export", "--tenant", "demo", *wanted).exit_code == 0
    with gzip.open(file, "rt", newline="") as text:
        rows = {row["externalEventId"]: row for row in csv.DictReader(text)}
    assert [name for name in rows["o1"] if name.startswith("properties")] == [
        "properties.code",
        "properties.note",
        "properties.value",
        "properties",
    ]
    told = ("schema_version", "identity.externalUserId", "properties.code", "properties.note")
    assert [rows["o1"][name] for name in told] == ["1", "bob", "secret-7", ""]
    assert [rows["o2"][name] for name in told] == ["2", "ann", "", "n"]


def test_csv_of_several_types_has_one_column_for_all_properties(delivered: Cdp) -> None:
    result = delivered("events", "export", "--tenant", "demo", "--format", "csv", "--spreadsheet")
    rows = {row["externalEventId"]: row for row in csv.DictReader(result.stdout.splitlines())}
    assert json.loads(rows["p1"]["properties"]) == {
        "amount": 10, "currency": "USD", "order_id": "=1",
    }  # fmt: skip
    warnings = json.loads(rows["p4"]["warnings"])
    assert [warning["path"] for warning in warnings] == ["/identity/phone"]


def test_a_file_is_compressed_as_its_name_says_and_for_its_owner_only(
    delivered: Cdp, tmp_path: Path
) -> None:
    plain, packed = tmp_path / "e.ndjson", tmp_path / "e.ndjson.zst"
    for file in (plain, packed):
        delivered("events", "export", "--tenant", "demo", "-o", str(file))
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with zstandard.open(packed, "rb") as stream:
        assert stream.read() == plain.read_bytes()


def test_a_role_that_may_only_read_will_do(delivered: Cdp, database_url: str) -> None:
    reading = f"{database_url}&default_transaction_read_only=on"
    result = run_cdp(
        "events", "export", "--tenant", "demo", environment={"CDP_DATABASE_URL": reading}
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == 6


def test_progress_is_shown_on_a_terminal(delivered: Cdp, database_url: str, tmp_path: Path) -> None:
    terminal, its_end = os.openpty()
    file = tmp_path / "events.ndjson"
    with subprocess.Popen(
        [sys.executable, "-m", "app.cli", "events", "export", "--tenant", "demo", "-o", str(file)],
        env=clean_environment() | {"CDP_DATABASE_URL": database_url, "TERM": "xterm"},
        stderr=its_end,
    ) as process:
        os.close(its_end)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: nobody writes to it any more
            while more := os.read(terminal, 4096):
                shown += more
        os.close(terminal)
    assert process.returncode == 0
    assert b"6 events" in shown
    assert f"6 events in {file}" in shown.decode()
    assert len(file.read_text().splitlines()) == 6


def test_a_database_of_an_older_version_is_left_as_it_is(empty_database_url: str) -> None:
    result = run_cdp(
        "events", "export", "--tenant", "demo", environment={"CDP_DATABASE_URL": empty_database_url}
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "cdp: the database is not of this version: `cdp migrate` first\n"
    assert (
        asyncio.run(fetch(empty_database_url, "select to_regclass('tenant') as t"))[0]["t"] is None
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--type nothing", "there is no event type 'nothing'"),
        ("--source nothing", "there is no source 'nothing'"),
        ("--source nul\x00", "'nul\\x00' is no name"),
        ("--source half\udcff", "'half\\udcff' is no name"),
        ("--profile prf_1", "there is no profile 'prf_1'"),
        ("--type purchase_completed --schema-version 99", "purchase_completed has no version 99"),
        ("--schema-version 1", "--schema-version needs --type: versions are an event type's"),
        ("--where /amount>1", "--where needs --type: properties are an event type's"),
        (
            "--profile prf_1 --received-since 2026-01-01",
            "a profile's events are found by --occurred-since and --occurred-until",
        ),
        ("--received-since soon", "--received-since 'soon' is no date and no time with its offset"),
        ("--occurred-until 2026-01-01T00:00:00", "is no date and no time with its offset"),
        ("-o events.parquet", "events.parquet is neither .ndjson nor .csv: say --format"),
        ("--spreadsheet", "--spreadsheet is for CSV"),
        ("--type purchase_completed --where amount", "is no condition: /amount>=100"),
        ("--type purchase_completed --where !/amount=1", "is no condition: /amount>=100"),
        ("--type purchase_completed --where /currency=USD", "/currency is not segmentable"),
        (
            "--type purchase_completed --where /amount>ten",
            "'/amount>ten': must be a number, as the property is",
        ),
        ("--type purchase_completed --where /amount=1e401", "no event can have such a number"),
        ("--type purchase_completed --where /amount=1e" + 20 * "9", "must be a number"),
    ],
)
def test_what_cannot_be_asked_is_told_in_one_line(cdp: Cdp, arguments: str, told: str) -> None:
    message = refusal(cdp, *arguments.split(" "))
    assert told in message
    assert "\n" not in message


async def fetch(database_url: str, sql: str, *arguments: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(database_url)
    try:
        return list(await connection.fetch(sql, *arguments))
    finally:
        await connection.close()
