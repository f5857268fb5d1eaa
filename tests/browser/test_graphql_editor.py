"""GET /graphql in a real browser that can reach nothing but the service."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.api.graphql.sockets import are_in_force, send, sender
from tests.browser.chromium import needs_chromium, rendered
from tests.browser.devtools import opened
from tests.support import Service, eventually, purchase

pytestmark = needs_chromium


def labelled(label: str) -> str:
    return f"document.querySelector(\"[aria-label='{label}']\")"


def test_the_editor_opens_without_another_host(service: Service, tmp_path: Path) -> None:
    page, log = rendered(f"{service.url}/graphql", tmp_path)
    assert "graphiql-container" in page, page[:2000]
    assert "Authorization" in page, "the place for the key is not open"
    loaded = re.findall(r'(?:src|<link[^>]* href)="([^"]*)"', page)
    assert loaded and [url for url in loaded if re.match(r"(?:https?:)?//", url)] == []
    assert "Content Security Policy" not in log, log
    assert "ERR_" not in log, log


async def test_the_editor_learns_the_schema_with_a_key(service: Service, tmp_path: Path) -> None:
    async with opened(f"{service.url}/graphql", tmp_path) as page:
        await page.until("document.querySelectorAll('.CodeMirror').length > 2")
        headers = json.dumps({"Authorization": f"Bearer {service.key}"})
        await page.value_of(
            "[...document.querySelectorAll('.graphiql-editor-tool .CodeMirror')]"
            f".forEach((editor) => editor.CodeMirror.setValue({json.dumps(headers)}))"
        )
        await page.value_of(f"{labelled('Show Documentation Explorer')}.click()")
        # The headers count a moment after they were typed: ask until then.
        explorer = "document.querySelector('.graphiql-doc-explorer').innerText"
        assert await page.until(
            f"{labelled('Re-fetch GraphQL schema')}.click() ||"
            " new Promise((later) => setTimeout(later, 1000))"
            f".then(() => {explorer}.includes('Subscription'))"
        )


async def test_the_editor_shows_outcomes_as_they_come(service: Service, tmp_path: Path) -> None:
    async with opened(f"{service.url}/graphql", tmp_path) as page:
        await page.until("document.querySelectorAll('.CodeMirror').length > 2")
        headers = json.dumps({"Authorization": f"Bearer {service.key}"})
        query = "subscription { outcomes { outcome externalEventId } }"
        for tab, text in (("editor-tool", headers), ("query-editor", query)):
            await page.value_of(
                f"[...document.querySelectorAll('.graphiql-{tab} .CodeMirror')]"
                f".forEach((editor) => editor.CodeMirror.setValue({json.dumps(text)}))"
            )
        await page.until("(localStorage['graphiql:query'] ?? '').includes('outcomes')")
        await page.value_of("document.querySelector('.graphiql-execute-button').click()")
        await eventually(lambda: are_in_force(service.url, 1), 20)
        async with sender(service.url, service.key) as client:
            await send(client, purchase("txn_live"))
        shown = "document.querySelector('.result-window')?.innerText ?? ''"
        assert await page.until(f"({shown}).includes('txn_live')")
        await page.value_of("document.querySelector('.graphiql-execute-button').click()")
        await eventually(lambda: are_in_force(service.url, 0), 20)
