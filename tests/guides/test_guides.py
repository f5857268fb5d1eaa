"""The guides in docs/guides/, step by step against a real service.

CDP_RECORD_GUIDES=1 pastes the real answers into them instead: `make test ARGS=tests/guides`.
"""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from tests.guides.test_support_answers import GUIDE as COUNTED_AS_WELL
from tests.guides.transcript import Transcript, steps_of
from tests.support import Service

GUIDES = sorted((Path(__file__).parents[2] / "docs" / "guides").glob("*.md"))


@pytest.mark.parametrize(
    "guide", [g for g in GUIDES if g != COUNTED_AS_WELL], ids=lambda guide: guide.stem
)
async def test_the_service_answers_what_the_guide_says(service: Service, guide: Path) -> None:
    assert list(steps_of(guide.read_text(encoding="utf-8"))), "the guide has no requests"
    async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:
        transcript = Transcript(client, service.key)
        if "CDP_RECORD_GUIDES" in os.environ:
            await transcript.record(guide)
        else:
            await transcript.check(guide)
