"""A service to measure: started as a user starts it, on a fresh data folder of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    """A key that delivers, marks properties and looks at everything but personal data."""
    allowed = ("events:write", "schema:write", "events:read", "stats:read")
    scopes = [option for scope in allowed for option in ("--scope", scope)]
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
