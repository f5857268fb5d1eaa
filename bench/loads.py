"""Loads on the service, by wrk; each is one line of the table."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.service import new_key, rss_mb
from bench.sql_limit import measure_sql_limit

HERE = Path(__file__).parent
BATCH = 500
SINGLE_FLUSH = 100
"""Flushes of single events at 64 connections are held against the limit at this size."""


@dataclass
class Figure:
    """One line of the table."""

    name: str
    events_per_second: float
    p50_ms: float
    p99_ms: float
    errors: int
    target: str
    rss_mb: float
    sql_limit: float = 0.0
    """Events a second of bare SQL, measured right after it at the same flush size."""


@dataclass
class Bench:
    url: str
    key: str
    seconds: int
    raw: Path
    server_pid: int
    database: str
    figures: list[Figure] = field(default_factory=list)

    def for_tenant(self, tenant: str) -> Bench:
        """The same service and table, as another tenant."""
        return replace(self, key=new_key(tenant))

    def wrk_command(
        self,
        script: str,
        *,
        connections: int,
        prefix: str,
        seconds: int,
        identity: str = "fresh",
        types: int = 0,
        spread: bool = False,
    ) -> tuple[list[str], dict[str, str]]:
        """What to run, and with which environment."""
        environment = os.environ | {
            "BENCH_KEY": self.key,
            "BENCH_PREFIX": prefix,
            "BENCH_IDENTITY": identity,
            "BENCH_TYPES": str(types),
            "BENCH_SPREAD": str(int(spread)),
            "BENCH_BATCH": str(BATCH),
        }
        command = [
            "wrk", f"-t{min(connections, 2)}", f"-c{connections}", f"-d{seconds}s",
            "--timeout", "10s", "-s", str(HERE / script), self.url,
        ]  # fmt: skip
        return command, environment

    def wrk(
        self,
        name: str,
        script: str,
        *,
        connections: int,
        prefix: str,
        target: str | None = None,
        identity: str = "fresh",
        types: int = 0,
        spread: bool = False,
        seconds: int | None = None,
    ) -> Figure:
        """Run one load; with a target it goes into the table, "–" where none was set."""
        command, environment = self.wrk_command(
            script,
            connections=connections,
            prefix=prefix,
            identity=identity,
            types=types,
            spread=spread,
            seconds=seconds or self.seconds,
        )
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=600
        )
        with (self.raw / "wrk.txt").open("a") as file:
            file.write(f"== {name}\n{done.stdout}\n")
        match = re.search(r"RESULT (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+) ([\d.]+)", done.stdout)
        assert match, done.stdout
        requests, micros, errors = int(match[1]), int(match[2]), int(match[3])
        events = requests * (BATCH if script == "batch.lua" else 1)
        figure = Figure(
            name=name,
            events_per_second=events / (micros / 1e6),
            p50_ms=float(match[4]),
            p99_ms=float(match[5]),
            errors=errors,
            target=target or "",
            rss_mb=rss_mb(self.server_pid),
            sql_limit=self.sql_limit(BATCH if script == "batch.lua" else SINGLE_FLUSH),
        )
        if target is not None:
            self.figures.append(figure)
        print(
            f"  {name}: {figure.events_per_second:,.0f} events/s, p50 {figure.p50_ms:.1f} ms,"
            f" p99 {figure.p99_ms:.1f} ms, {errors} errors, {figure.rss_mb:.0f} MB,"
            f" SQL limit {figure.sql_limit:,.0f}",
            flush=True,
        )
        return figure

    def batches(self, name: str, *, prefix: str, target: str) -> Figure:
        """Batches whose amounts and stores differ."""
        name = f"batches of 500, {name}"
        return self.wrk(name, "batch.lua", connections=4, prefix=prefix, spread=True, target=target)

    def mark_segmentable(self, event_type: str, path: str) -> None:
        """As a client does; existing events are backfilled from now on."""
        query = "mutation($t:String!,$p:String!){markSegmentable(eventType:$t,path:$p){__typename}}"
        body = json.dumps({"query": query, "variables": {"t": event_type, "p": path}})
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/graphql", body.encode(), headers)
        answer = urllib.request.urlopen(request, timeout=30).read()
        assert b'"PropertyMarked"' in answer, answer

    def sql_limit(self, size: int) -> float:
        """Measured next to each load: the machine's speed changes from minute to minute."""
        return asyncio.run(measure_sql_limit(self.database, size))


def table(figures: list[Figure]) -> str:
    """The README's table. Single events are held against flushes of 100, batches against 500."""
    lines = [
        "| load | events/s | p50 ms | p99 ms | SQL limit | ratio | target | worker MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for figure in figures:
        lines.append(
            f"| {figure.name} | {figure.events_per_second:,.0f} | {figure.p50_ms:.1f} |"
            f" {figure.p99_ms:.1f} | {figure.sql_limit:,.0f} |"
            f" {figure.events_per_second / figure.sql_limit:.2f} | {figure.target} |"
            f" {figure.rss_mb:.0f} |"
        )
    return "\n".join(lines)
