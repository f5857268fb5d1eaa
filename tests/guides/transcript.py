"""Runs a guide: its requests against the service, its pasted answers against the real ones.

A request is a fenced block `graphql as=NAME` or `http as=NAME`, its answer the `json` block behind
it. More words behind the language: `wait=TEXT` asks again until the answer has that text (without
blanks), `pause=SECONDS` waits first, `at=TIME` is a time in the request that stands for five
seconds from now. Ids, keys and times differ from run to run: they must look alike, and one that
was answered is used in later requests in place of the one in the text.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec

WAIT_SECONDS = 60
SOON = timedelta(seconds=5)
_STEP = re.compile(
    r"^```(?P<kind>graphql|http)(?P<words>[^\n]*)\n(?P<request>.*?)^```\n+"
    r"^```json\n(?P<answer>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_CHANGING = (
    re.compile(r"(?:evt|prf|qrn|drf|imp|req|rpl)_[0-9a-z]+"),
    re.compile(r"cdp_[a-z]+_[a-z2-7]{10}_(?:[a-z2-7]{32}|…)"),
    re.compile(r"[a-z2-7]{10}"),
    re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)"),
)
_SECRET = re.compile(r"(cdp_[a-z]+_[a-z2-7]{10}_)[a-z2-7]{32}")


class Step(msgspec.Struct, frozen=True):
    """One request of a guide, and what the guide says that it answers."""

    kind: str
    words: dict[str, str]
    request: str
    answer: str
    answer_span: tuple[int, int]


def steps_of(text: str) -> Iterator[Step]:
    for match in _STEP.finditer(text):
        words = dict(word.split("=", 1) for word in match["words"].split())
        yield Step(match["kind"], words, match["request"], match["answer"], match.span("answer"))


class Transcript:
    """A guide on its way through a service."""

    def __init__(self, client: httpx.AsyncClient, admin_key: str) -> None:
        self._client = client
        self._keys = {"admin": admin_key}
        self._now: dict[str, str] = {}
        """What stands in the text → what it is in this run."""

    async def check(self, guide: Path) -> None:
        """Every pasted answer is what the service answers."""
        for step in steps_of(guide.read_text(encoding="utf-8")):
            expected = json.loads(step.answer)
            answer = await self._ask(step)
            self._compare(expected, answer, f"{guide.name}: {step.request}\n→ {answer}")

    async def record(self, guide: Path) -> None:
        """Paste the real answers into the guide, without secrets."""
        text = guide.read_text(encoding="utf-8")
        edits = []
        try:
            for step in steps_of(text):
                answer = await self._ask(step)
                self._learn(json.loads(step.answer), answer)
                pasted = _SECRET.sub(r"\1…", json.dumps(answer, indent=2, ensure_ascii=False))
                edits.append((step.answer_span, pasted + "\n"))
        finally:
            guide.write_text(self._pasted(text, edits), encoding="utf-8")

    def _pasted(self, text: str, edits: list[tuple[tuple[int, int], str]]) -> str:
        for (start, end), pasted in reversed(edits):
            text = text[:start] + pasted + text[end:]
        for said, now in self._now.items():
            text = text.replace(said, now)
        return text

    async def _ask(self, step: Step) -> Any:
        await asyncio.sleep(float(step.words.get("pause", 0)))
        deadline = time.monotonic() + WAIT_SECONDS
        wanted = step.words.get("wait", "")
        while True:
            response = await self._send(step)
            answer = response.json()
            if wanted in response.text.replace(" ", ""):
                self._remember_keys(answer)
                return answer
            assert time.monotonic() < deadline, f"never {wanted}: {answer}"
            await asyncio.sleep(0.2)

    async def _send(self, step: Step) -> httpx.Response:
        request = step.request
        for said, now in self._now.items():
            request = request.replace(said, now)
        if "at" in step.words:
            request = request.replace(
                step.words["at"], (datetime.now(UTC) + SOON).strftime("%Y-%m-%dT%H:%M:%SZ")
            )
        path, body = "/graphql", json.dumps({"query": request})
        if step.kind == "http":
            first, _, body = request.partition("\n")
            path = first.removeprefix("POST ")
        headers = {
            "Authorization": f"Bearer {self._keys[step.words['as']]}",
            "Content-Type": "application/json",
        }
        return await self._client.post(path, content=body.encode(), headers=headers)

    def _remember_keys(self, answer: Any) -> None:
        for made in (answer.get("data") or {}).values():
            if isinstance(made, dict) and made.get("__typename") == "CreatedApiKey":
                self._keys[made["apiKey"]["name"]] = made["key"]

    def _learn(self, said: Any, now: Any) -> None:
        """Ids at places that both have."""
        if isinstance(said, dict) and isinstance(now, dict):
            for name in said.keys() & now.keys():
                self._learn(said[name], now[name])
        elif isinstance(said, list) and isinstance(now, list):
            for one, other in zip(said, now, strict=False):
                self._learn(one, other)
        elif isinstance(said, str) and isinstance(now, str) and _alike(said, now):
            self._now[said] = now

    def _compare(self, expected: Any, actual: Any, where: str) -> None:
        assert type(expected) is type(actual), where
        if isinstance(expected, dict):
            assert expected.keys() == actual.keys(), where
            for name, value in expected.items():
                self._compare(value, actual[name], where)
        elif isinstance(expected, list):
            assert len(expected) == len(actual), where
            for one, other in zip(expected, actual, strict=True):
                self._compare(one, other, where)
        elif isinstance(expected, str) and _alike(expected, actual):
            self._now[expected] = actual
        else:
            assert expected == actual, where


def _alike(said: str, now: str) -> bool:
    """Whether both are ids, keys or times of one form."""
    return any(form.fullmatch(said) and form.fullmatch(now) for form in _CHANGING)
