"""`make bench`: measures the service as a user runs it, and the SQL limit in the same run.

Starts `cdp serve` on a fresh data folder (fsync and synchronous_commit on), drives it with wrk,
then writes the same rows with the service's own statements and nothing else: that is the SQL
limit. Prints a table with ratios and keeps the raw output under bench/results/.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from app.cli.starter import registry_folder
from app.db.embedded import running_dsn
from bench.sql_limit import measure_sql_limit

HERE = Path(__file__).parent
BATCH = 500
MANY_TYPES = 1_000
SETTLE_SECONDS = 20
"""Until newly marked properties are ready: there is nothing to backfill."""
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

    def wrk(
        self,
        name: str,
        script: str,
        *,
        connections: int,
        prefix: str,
        target: str,
        identity: str = "fresh",
        types: int = 0,
        spread: bool = False,
        seconds: int | None = None,
    ) -> Figure:
        """Run one load; the figure goes into the table."""
        duration = seconds or self.seconds
        environment = os.environ | {
            "BENCH_KEY": self.key,
            "BENCH_PREFIX": prefix,
            "BENCH_IDENTITY": identity,
            "BENCH_TYPES": str(types),
            "BENCH_SPREAD": str(int(spread)),
            "BENCH_BATCH": str(BATCH),
        }
        command = [
            "wrk", f"-t{min(connections, 2)}", f"-c{connections}", f"-d{duration}s",
            "--timeout", "10s", "-s", str(HERE / script), self.url,
        ]  # fmt: skip
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
            target=target,
            rss_mb=rss_mb(self.server_pid),
            sql_limit=self.sql_limit(BATCH if script == "batch.lua" else SINGLE_FLUSH),
        )
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


def rss_mb(pid: int) -> float:
    """Resident memory of the largest worker: with one, it lives in the main process."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    sizes = [_rss_mb(int(child)) for child in children if _is_worker(int(child))]
    return max(sizes, default=_rss_mb(pid))


def _is_worker(pid: int) -> bool:
    return b"multiprocessing" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert match
    return int(match[1]) / 1024


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cdp(*arguments: str) -> str:
    """Run a `cdp` command beside the service."""
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def new_key(tenant: str) -> str:
    scopes = ("--scope", "events:write", "--scope", "schema:write")
    options = ("--name", "bench", "--rate-limit", "100000000", "--json", *scopes)
    created = cdp("keys", "create", "--tenant", tenant, *options)
    return str(json.loads(created)["key"])


@contextmanager
def running_service(folder: Path) -> Iterator[tuple[str, int]]:
    """`cdp serve` on a fresh data folder, as a user starts it."""
    os.environ["CDP_DATA_DIR"] = str(folder)
    port = free_port()
    log = (folder / "serve.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "serve", "--port", str(port)], stdout=log, stderr=log
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/readyz", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise RuntimeError((folder / "serve.log").read_text())
        yield url, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def write_many_types(folder: Path) -> Path:
    """A registry of 1,000 event types with 50 properties each."""
    kinds = ["string", "number", "integer", "boolean"]
    for number in range(MANY_TYPES):
        type_folder = folder / f"bench_type_{number}"
        type_folder.mkdir(parents=True)
        document = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "x-owner": "bench",
            "properties": {
                f"prop_{i}": {"type": kinds[i % 4], "description": "A property."} for i in range(50)
            },
            "required": ["prop_0", "prop_1"],
        }
        (type_folder / "1.json").write_text(json.dumps(document))
    return folder


def write_product_registry(folder: Path, segmentable: Container[str]) -> Path:
    """The product's own registry; of it only these properties of purchases are segmentable."""
    shutil.copytree(registry_folder(), folder)
    for file in folder.glob("*/*.json"):
        document = json.loads(file.read_text())
        for name, schema in document["properties"].items():
            schema.pop("x-segmentable", None)
            if file.parent.name == "purchase_completed" and name in segmentable:
                schema["x-segmentable"] = True
        file.write_text(json.dumps(document))
    return folder


def measure_segments(bench: Bench, folder: Path) -> None:
    """The same batches without and with two properties whose values are kept for segments."""
    marked_registry = write_product_registry(folder / "marked", ("amount", "store_id"))
    cdp("registry", "apply", "--tenant", "bench-marked", str(marked_registry))
    time.sleep(SETTLE_SECONDS)
    marked = bench.for_tenant("bench-marked")
    without = bench.batches("nothing segmentable", prefix="h_", target="–")
    with_marks = marked.batches("2 segmentable properties", prefix="i_", target="≥ 0.75 of it")
    for name in ("amount", "store_id"):
        bench.mark_segmentable("purchase_completed", f"/{name}")
    time.sleep(SETTLE_SECONDS / 10)
    filling = bench.batches("the same, while they are backfilled", prefix="j_", target="–")
    for figure in (with_marks, filling):
        ratio = figure.events_per_second / without.events_per_second
        print(f"  {figure.name}: {ratio:.2f} of the speed with none", flush=True)


def measure(bench: Bench, folder: Path) -> None:
    """Every load of the table, one after the other."""
    bench.wrk("warm-up", "single.lua", connections=16, prefix="w_", target="", seconds=3)
    bench.figures.clear()
    bench.wrk(
        "single events, 64 connections",
        "single.lua",
        connections=64,
        prefix="a_",
        target="≥ 7,000/s, p99 ≤ 40 ms",
    )
    bench.wrk(
        "the same again: duplicates",
        "single.lua",
        connections=64,
        prefix="a_",
        target="≥ first deliveries",
        seconds=max(bench.seconds // 2, 1),
    )
    bench.wrk(
        "single events, 256 connections", "single.lua", connections=256, prefix="b_", target="–"
    )
    bench.wrk(
        "batches of 500, 4 connections",
        "batch.lua",
        connections=4,
        prefix="c_",
        target="≥ 20,000/s, ≥ 0.6 of limit",
    )
    bench.wrk(
        "one quiet caller",
        "single.lua",
        connections=1,
        prefix="d_",
        target="p50 ≤ 4 ms",
        seconds=max(bench.seconds // 2, 1),
    )
    bench.wrk(
        "one hot profile, 64 connections",
        "single.lua",
        connections=64,
        prefix="e_",
        identity="hot",
        target="≥ 2,000/s",
    )
    cdp("registry", "apply", "--tenant", "bench-many", str(write_many_types(folder / "many")))
    many = bench.for_tenant("bench-many")
    many.wrk(
        "single events, 1,000 types × 50 properties",
        "single.lua",
        connections=64,
        prefix="f_",
        types=MANY_TYPES,
        target="within 10 %",
    )
    many.wrk(
        "batches of 500, 1,000 types × 50 properties",
        "batch.lua",
        connections=4,
        prefix="g_",
        types=MANY_TYPES,
        target="within 10 %",
    )
    measure_segments(bench, folder)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=15, help="of each load")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is needed: apt-get install wrk")
    raw = HERE / "results" / time.strftime("%Y%m%d-%H%M%S")
    raw.mkdir(parents=True)
    base = "/var/lib" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="cdp-bench-", dir=base))
    folder.chmod(0o755)
    try:
        with running_service(folder) as (url, pid):
            for tenant in ("bench", "bench-many", "bench-marked"):
                cdp("tenants", "create", tenant)
            plain_registry = write_product_registry(folder / "plain", ())
            cdp("registry", "apply", "--tenant", "bench", str(plain_registry))
            database = running_dsn(folder)
            assert database is not None
            bench = Bench(url, new_key("bench"), arguments.seconds, raw, pid, database)
            measure(bench, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = table(bench.figures)
    (raw / "table.md").write_text(result + "\n")
    print(result)


if __name__ == "__main__":
    main()
