"""GET /graphql in a real browser that can reach nothing but the service."""

from __future__ import annotations

import re
from pathlib import Path

from tests.browser.chromium import needs_chromium, rendered
from tests.support import Service

pytestmark = needs_chromium


def test_the_editor_opens_without_another_host(service: Service, tmp_path: Path) -> None:
    page, log = rendered(f"{service.url}/graphql", tmp_path)
    assert "graphiql-container" in page, page[:2000]
    assert "Authorization" in page, "the place for the key is not open"
    loaded = re.findall(r'(?:src|<link[^>]* href)="([^"]*)"', page)
    assert loaded and [url for url in loaded if re.match(r"(?:https?:)?//", url)] == []
    assert "Content Security Policy" not in log, log
    assert "ERR_" not in log, log
