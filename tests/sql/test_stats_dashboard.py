"""The Grafana dashboard asks for what there is: every metric by its name, every statement runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

import app.metrics
from tests.support import Api, purchase

DASHBOARD = json.loads((Path(__file__).parents[2] / "grafana" / "cdp.json").read_text())
TARGETS = [
    pytest.param(target, id=panel["title"])
    for panel in DASHBOARD["panels"]
    for target in panel["targets"][:1]
]
MACROS = {
    "$__timeFrom()": "(now() - interval '1 day')",
    "$__timeTo()": "(now() + interval '1 day')",
    "${tenant}": "demo",
}


def statement(target: dict[str, Any]) -> str:
    sql: str = target["rawSql"]
    for macro, value in MACROS.items():
        sql = sql.replace(macro, value)
    return sql


def test_every_metric_that_is_drawn_exists() -> None:
    assert app.metrics.OUTCOMES is not None
    there = {metric.name for metric in REGISTRY.collect()}
    drawn = {
        re.sub("_(total|bucket|sum|count)$", "", name)
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\bcdp_\w+", target.get("expr", ""))
    }
    assert drawn
    assert drawn <= there


@pytest.mark.parametrize("target", [t for t in TARGETS if "rawSql" in t.values[0]])  # type: ignore[operator]
async def test_every_statement_finds_what_was_delivered(api: Api, target: dict[str, Any]) -> None:
    await api.post(purchase("a"))
    await api.post(purchase("b", eventType="nonsense"))
    await api.fetch(
        "insert into ingest_freshness select bucket, tenant_id, source_id, event_type_id,"
        " minute, 900 from ingest_stat where outcome = 1"
    )
    await api.fetch(
        "insert into ingest_stat_progress select 0, id, now() - interval '2 days',"
        " now() - interval '3 days' from tenant"
    )
    rows = await api.fetch(statement(target))
    assert rows
    if target["format"] == "time_series":
        assert {row["metric"]: row["events"] for row in rows} == {"accepted": 1, "rejected": 1}
