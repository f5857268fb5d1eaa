"""What a dashboard on somebody's screen, with stats and lists every second, costs ingest.

One load runs all the time, and the dashboard is opened and closed again while it does: what the
service took in with it is held against what it took in without. So both see the same machine.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import threading
import time
import urllib.request
from contextlib import nullcontext
from types import TracebackType

from bench.loads import Bench

EVERY_SECONDS = 1.0
STRETCH_SECONDS = 5
STRETCHES = "-++--++--++--++-"
"""Without and with; in this order, what the load itself changes with time weighs on both alike."""
QUERY = """
{
  byOutcome: stats(step: MINUTE, received: {since: "%(hour_ago)s"}, groupBy: [OUTCOME]) {
    total perSecond starts series { outcome total events }
  }
  bySource: stats(step: HOUR, groupBy: [SOURCE, EVENT_TYPE]) { series { source eventType events } }
  topErrors { reason source eventType events }
  freshness { source eventType lastEventAt silentSince }
  lag { p50Seconds p95Seconds }
  events(first: 50) {
    nodes { id source eventType receivedAt occurredAt properties identity { email } }
    pageInfo { hasNextPage }
  }
  quarantine(first: 50) { nodes { id errorCode source eventType receivedAt } }
  quarantineGroups(first: 20) { groups { errorCode reason path count } }
  deliveries(first: 50) { nodes { eventId outcome receivedAt source } }
  retryingSources(first: 10) { source deliveries duplicates rate }
}
"""


class Dashboard:
    """Polls in a thread of its own while it is open.

    raises  OSError or AssertionError on the way out where an answer was no answer
    """

    def __init__(self, url: str, key: str) -> None:
        self._url = f"{url}/graphql"
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._poll)
        self._failure: Exception | None = None
        self.milliseconds: list[float] = []
        """Of each answer."""

    def __enter__(self) -> Dashboard:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed.set()
        self._thread.join()
        if self._failure and error is None:
            raise self._failure

    def _poll(self) -> None:
        try:
            while not self._closed.is_set():
                started = time.monotonic()
                self._ask()
                took = time.monotonic() - started
                self.milliseconds.append(took * 1_000)
                self._closed.wait(max(EVERY_SECONDS - took, 0))
        except Exception as failure:
            self._failure = failure

    def _ask(self) -> None:
        hour_ago = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3_600))
        body = json.dumps({"query": QUERY % {"hour_ago": hour_ago}}).encode()
        request = urllib.request.Request(self._url, body, self._headers)
        answer = json.loads(urllib.request.urlopen(request, timeout=30).read())
        assert "errors" not in answer, answer["errors"]


def measure_dashboard(bench: Bench) -> None:
    """Single events, then batches."""
    for name, script, connections in (
        ("single events, 64 connections", "single.lua", 64),
        ("batches of 500, 4 connections", "batch.lua", 4),
    ):
        command, environment = bench.wrk_command(
            script,
            connections=connections,
            prefix=f"m{name[0]}_",
            seconds=STRETCH_SECONDS * (len(STRETCHES) + 2),
        )
        load = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        try:
            time.sleep(STRETCH_SECONDS / 2)
            _compare(bench, name)
        finally:
            load.terminate()
            load.wait()


def _compare(bench: Bench, name: str) -> None:
    rates: dict[str, list[float]] = {"-": [], "+": []}
    milliseconds: list[float] = []
    for kind in STRETCHES:
        dashboard = Dashboard(bench.url, bench.key)
        with dashboard if kind == "+" else nullcontext():
            started, before = time.monotonic(), _accepted(bench.url)
            time.sleep(STRETCH_SECONDS)
            events, seconds = _accepted(bench.url) - before, time.monotonic() - started
        rates[kind].append(events / seconds)
        milliseconds += dashboard.milliseconds
    without, seen = statistics.mean(rates["-"]), statistics.mean(rates["+"])
    pairs = [w / o for o, w in zip(rates["-"], rates["+"], strict=True)]
    print(
        f"  {name}: {without:,.0f} events/s, {seen:,.0f} with a dashboard, {seen / without:.2f}"
        f" (pairs {min(pairs):.2f} to {max(pairs):.2f}; target ≥ 0.9); {len(milliseconds)} answers"
        f" to it, median {statistics.median(milliseconds):.0f} ms,"
        f" slowest {max(milliseconds):.0f} ms",
        flush=True,
    )


def _accepted(url: str) -> float:
    """Events accepted so far, in all workers."""
    text = urllib.request.urlopen(f"{url}/metrics", timeout=10).read().decode()
    counts = re.findall(r'^cdp_events_total\{.*outcome="accepted".*\} (\S+)$', text, re.MULTILINE)
    assert counts, text
    return sum(map(float, counts))
