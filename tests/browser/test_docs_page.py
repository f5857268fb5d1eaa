"""/docs in a real browser that can reach nothing but the service."""

from __future__ import annotations

import re
from pathlib import Path

from app.api.rest.openapi import BATCH_PATH, EVENTS_PATH
from tests.browser.chromium import needs_chromium, rendered
from tests.support import Service

pytestmark = needs_chromium


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
