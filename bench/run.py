"""`make bench`: measures the service as a user runs it, and the SQL limit in the same run.

Starts `cdp serve` on a fresh data folder (fsync and synchronous_commit on), drives it with wrk,
then writes the same rows with the service's own statements and nothing else: that is the SQL
limit. Prints a table with ratios and keeps the raw output under bench/results/.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Container
from pathlib import Path

from app.db.embedded import running_dsn
from bench.dashboard import measure_dashboard
from bench.loads import HERE, Bench, table
from bench.registries import MANY_TYPES, write_many_types, write_product_registry
from bench.service import cdp, new_key, running_service

PARTS = ("loads", "types", "dashboard", "segments")
SETTLE_SECONDS = 20
"""Until newly marked properties are ready: there is nothing to backfill."""


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


def measure_loads(bench: Bench) -> None:
    """What callers do, with the product's own event types."""
    half = max(bench.seconds // 2, 1)
    singles = "single.lua"
    bench.wrk(
        "single events, 64 connections",
        singles,
        connections=64,
        prefix="a_",
        target="≥ 7,000/s, p99 ≤ 40 ms",
    )
    bench.wrk(
        "the same again: duplicates",
        singles,
        connections=64,
        prefix="a_",
        target="≥ first deliveries",
        seconds=half,
    )
    bench.wrk("single events, 256 connections", singles, connections=256, prefix="b_", target="–")
    bench.wrk(
        "batches of 500, 4 connections",
        "batch.lua",
        connections=4,
        prefix="c_",
        target="≥ 20,000/s, ≥ 0.6 of limit",
    )
    bench.wrk(
        "one quiet caller",
        singles,
        connections=1,
        prefix="d_",
        target="p50 ≤ 4 ms",
        seconds=half,
    )
    bench.wrk(
        "one hot profile, 64 connections",
        singles,
        connections=64,
        prefix="e_",
        identity="hot",
        target="≥ 2,000/s",
    )


def measure_types(bench: Bench, folder: Path) -> None:
    """A registry of a thousand event types."""
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


def measure(bench: Bench, folder: Path, parts: Container[str]) -> None:
    """The parts that are wanted, one after the other."""
    bench.wrk("warm-up", "single.lua", connections=16, prefix="w_", seconds=3)
    if "loads" in parts:
        measure_loads(bench)
    if "types" in parts:
        measure_types(bench, folder)
    if "dashboard" in parts:
        measure_dashboard(bench)
    if "segments" in parts:
        measure_segments(bench, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=15, help="of each load")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all when left out")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
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
            measure(bench, folder, arguments.parts or PARTS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = table(bench.figures)
    (raw / "table.md").write_text(result + "\n")
    print(result)


if __name__ == "__main__":
    main()
