"""Prometheus metrics. Labels are closed sets: never a tenant's, a source's or a person's name."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"

OUTCOMES = Counter("cdp_events", "Events judged, by outcome", ["outcome"])
REQUESTS = Histogram(
    "cdp_request_seconds",
    "Time from the last byte of the request to the answer",
    ["endpoint", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56),
)
FLUSH_EVENTS = Histogram(
    "cdp_flush_events",
    "Events of one transaction",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000),
)
FLUSH_SECONDS = Histogram(
    "cdp_flush_seconds",
    "Time of one transaction, waiting for a connection included",
    buckets=(0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048),
)
FLUSH_RETRIES = Counter("cdp_flush_retries", "Transactions rolled back and why", ["reason"])
QUEUE_EVENTS = Gauge("cdp_queue_events", "Events waiting for a flush", multiprocess_mode="livesum")
POOL_CONNECTIONS = Gauge(
    "cdp_pool_connections", "Postgres connections", ["state"], multiprocess_mode="livesum"
)
LIVE_SUBSCRIPTIONS = Gauge(
    "cdp_live_subscriptions", "Subscriptions to outcomes", multiprocess_mode="livesum"
)
LIVE_ENDED = Counter("cdp_live_ended", "Live connections that were closed, and why", ["reason"])


def exposition() -> tuple[bytes, str]:
    """(body, content type) of /metrics: of all workers where there are several."""
    directory = os.environ.get(MULTIPROCESS_DIR)
    if directory is None:
        return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
    _forget_dead_workers(Path(directory))
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _forget_dead_workers(directory: Path) -> None:
    """Drop the gauges of workers that are gone; their counters stay in the sums."""
    for file in directory.glob("gauge_live*_*.db"):
        pid = int(file.stem.rsplit("_", 1)[1])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
