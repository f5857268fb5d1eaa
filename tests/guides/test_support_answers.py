"""The guide to the questions of a day: it answers what counting the rows gives.

The test delivers a smaller demo than the guide speaks of, and moves counters back where the guide
waits. CDP_RECORD_GUIDES=1 pastes the answers after as many events as the guide says, and waits.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from app.cli.retail.history import BAD_LINE
from app.cli.retail.story import EMAIL, LOYALTY_ID, PHONES
from app.cli.retail.telling import UNREGISTERED_TYPE
from tests.guides.transcript import Transcript
from tests.support import Service, move_counters_back

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "answer-the-questions-of-a-day.md"
DEMO = "--events 20000 --until 2026-05-20"
"""Small, and the same whenever it is delivered."""
GROUPED = 20_000
"""Open items that quarantineGroups looks at."""

Answers = dict[str, Any]


async def test_the_questions_of_a_day_are_answered_as_counting_the_rows_would(
    service: Service,
) -> None:
    rows = await asyncpg.connect(service.database_url)
    let_pass = partial(move_counters_back, rows, service.tenant_id)
    try:
        async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
            if "CDP_RECORD_GUIDES" in os.environ:
                transcript = Transcript(client, service.key)
                await transcript.record(GUIDE)
            else:
                transcript = Transcript(client, service.key, let_pass=let_pass, demo=DEMO)
                await transcript.check(GUIDE)
        await refused_items_are_counted(rows, transcript.answers)
        await the_till_that_retries_most_is_found(rows, transcript.answers)
        await all_that_she_did_is_hers(rows, transcript.answers)
        await the_last_minutes_are_those_of_the_events(rows, transcript.answers)
        await what_was_refused_twice_is_there_once(rows, transcript.answers)
    finally:
        await rows.close()


async def refused_items_are_counted(rows: asyncpg.Connection, answers: Answers) -> None:
    by_reason = dict(await rows.fetch("select reason, count(*) from quarantine group by 1"))
    stats = answers["reasons"]["stats"]
    assert stats["total"] == sum(by_reason.values()) > 0
    assert [s["total"] for s in stats["series"]] == sorted(by_reason.values())[:-3:-1]
    assert all(by_reason[s["reason"]] == s["total"] for s in stats["series"])

    counted = await rows.fetch(
        "select reason, source, case event_type when $1 then '' else event_type end as type,"
        " count(*) as items from quarantine group by 1, 2, 3 order by 4 desc",
        UNREGISTERED_TYPE,
    )
    errors = answers["errors"]["topErrors"]
    assert [e["events"] for e in errors] == [row["items"] for row in counted[:2]]
    assert {(e["reason"], e["source"], e["eventType"], e["events"]) for e in errors} <= {
        tuple(row) for row in counted
    }

    (group,) = answers["groups"]["quarantineGroups"]["groups"]
    alike = await rows.fetch(
        "select path, source, event_type, count(*) from (select * from quarantine"
        " order by received_at desc, quarantine_id desc limit $2) as newest"
        " where reason = $1 group by 1, 2, 3",
        group["reason"],
        GROUPED,
    )
    assert (group["path"], group["source"], group["eventType"], group["count"]) in {
        tuple(row) for row in alike
    }
    assert group["count"] == max(row["count"] for row in alike)


async def the_till_that_retries_most_is_found(rows: asyncpg.Connection, answers: Answers) -> None:
    counted = {
        row["name"]: row
        for row in await rows.fetch(
            "select s.name, count(*) as deliveries, count(*) filter (where outcome = 2) as"
            " duplicates, count(*) filter (where outcome = 3) as conflicts"
            " from (select source_id, 1 as outcome from event"
            " union all select source_id, outcome from delivery) as d"
            " join source s on s.id = d.source_id where s.name like 'brand.pos.%' group by 1"
        )
    }
    retries = answers["retries"]["retryingSources"]
    assert retries[0]["source"] == BAD_LINE
    most = sorted((row["duplicates"] + row["conflicts"] for row in counted.values()), reverse=True)
    assert [r["duplicates"] + r["conflicts"] for r in retries] == most[:2]
    for one in retries:
        row = counted[one["source"]]
        assert (one["deliveries"], one["duplicates"], one["conflicts"]) == tuple(row)[1:]


async def all_that_she_did_is_hers(rows: asyncpg.Connection, answers: Answers) -> None:
    customer = answers["customer"]["profileByIdentifier"]
    assert [(one["kind"], one["value"]) for one in customer["identifiers"]] == [
        ("EXTERNAL", LOYALTY_ID),
        ("EMAIL", EMAIL),
        ("PHONE", PHONES[0]),
        ("PHONE", PHONES[1]),
    ]
    hers = await rows.fetchval(
        "select count(*) from event where identity->>'externalUserId' = $1"
        " or identity->>'email' = $2 or identity->>'phone' = any ($3)",
        LOYALTY_ID,
        EMAIL,
        list(PHONES),
    )
    assert customer["eventCounts"]["total"] == hers
    (merge,) = customer["merges"]
    before, merging = (answers[name]["whyOnThisProfile"] for name in ("before", "merging"))
    assert before["assignedTo"] == merge["mergedId"] != before["profile"]["id"] == customer["id"]
    assert merging["event"]["identity"] == {"externalUserId": LOYALTY_ID, "phone": PHONES[1]}


async def the_last_minutes_are_those_of_the_events(
    rows: asyncpg.Connection, answers: Answers
) -> None:
    last = await rows.fetch(
        "select t.name, date_trunc('minute', max(e.received_at)) from event e"
        " join event_type t on t.id = e.event_type_id join source s on s.id = e.source_id"
        " where s.name = 'brand.crm' group by 1"
    )
    assert {f["eventType"]: f["lastEventAt"] for f in answers["crm"]["freshness"]} == {
        name: minute.isoformat() for name, minute in last
    }


async def what_was_refused_twice_is_there_once(rows: asyncpg.Connection, answers: Answers) -> None:
    real = answers["real"]["quarantineReplay"]
    dry = answers["dry"]["quarantineReplay"]
    assert dry["accepted"] + dry["duplicate"] == real["accepted"] + real["duplicate"]
    assert dry["accepted"] >= real["accepted"]
    events = await rows.fetchval(
        "select count(*) from event e join event_type t on t.id = e.event_type_id"
        " where t.name = $1",
        UNREGISTERED_TYPE,
    )
    assert events == real["accepted"] > 0
    items, keys = await rows.fetchrow(
        "select count(*), count(distinct event_key) from quarantine"
        " where event_type = $1 and resolution is not null",
        UNREGISTERED_TYPE,
    )
    assert (items, keys) == (real["accepted"] + real["duplicate"], events)
    again = answers["again"]["quarantineReplay"]
    assert (again["accepted"], again["duplicate"]) == (0, 0)
