"""/docs in a real browser that can reach nothing but the service."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from app.api.rest.openapi import BATCH_PATH, EVENTS_PATH
from tests.support import Service

CHROMIUM = os.environ.get("CDP_TEST_CHROMIUM") or shutil.which("chromium")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: install it, or name one in CDP_TEST_CHROMIUM"
)


def rendered(url: str, profile: Path) -> tuple[str, str]:
    """(the page's DOM after its scripts have run, what the browser logged)."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={profile}",
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            "--enable-logging=stderr",
            "--virtual-time-budget=8000",
            "--dump-dom",
            url,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, done.stderr


def test_the_page_shows_both_endpoints_and_an_error_without_another_host(
    service: Service, tmp_path: Path
) -> None:
    page, log = rendered(f"{service.url}/docs#/events/deliverEvent", tmp_path)
    shown = re.findall(r'data-path="([^"]+)"', page)
    assert {EVENTS_PATH, BATCH_PATH} <= set(shown)
    assert "idempotency_conflict" in page
    assert "req_5f0c2a9be4d17386" in page, "no error example is shown"
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert [link for link in links if not re.match(r"/|#|data:|\./", link)] == []
    assert "Content Security Policy" not in log, log
