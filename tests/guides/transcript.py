"""Runs a guide: its requests against the service, its pasted answers against the real ones.

A request is a fenced block `graphql as=NAME` or `http as=NAME`, its answer the `json` block behind
it; or `sh` with one `cdp` command, its output the `text` block behind. More words behind the
language:

wait=TEXT      asks again until the answer has that text (without blanks)
pause=SECONDS  waits first
at=TIME        a time in the request that stands for five seconds from now
since=TIME     a time, from here on, that stands for an hour ago
later=MINUTES  lets so much time pass first
name=NAME      keeps the answer under that name
figures=vary, data=FIELD,…  what may differ from the answer (`comparison`)

Ids, keys and times that were answered are used in later requests in place of those in the text.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec

from tests.guides.comparison import alike, allowed, differences, shape
from tests.support import run_cdp

WAIT_SECONDS = 180
COMMAND_SECONDS = 1_800
SOON = timedelta(seconds=5)
_STEP = re.compile(
    r"^```(?P<kind>graphql|http|sh)(?P<words>[^\n]*)\n(?P<request>(?:(?!```)[^\n]*\n)*)^```\n+"
    r"^```(?:json|text)\n(?P<answer>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_SECRET = re.compile(r"(cdp_[a-z]+_[a-z2-7]{10}_)[a-z2-7]{32}")
_EVENTS = re.compile(r"--events \d+")
_PROGRESS = "delivering "
"""How a line begins that says how long it took."""
_REPEATED = "requests repeated"
"""In a line that is there if the service was so busy that it asked for patience."""


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

    def __init__(
        self,
        client: httpx.AsyncClient,
        admin_key: str,
        *,
        let_pass: Callable[[timedelta], Awaitable[None]] | None = None,
        demo: str | None = None,
    ) -> None:
        """
        let_pass  what `later` does; None really waits
        demo      options in place of each `--events` of a command
        """
        self.answers: dict[str, Any] = {}
        self._client = client
        self._keys = {"admin": admin_key}
        self._let_pass = let_pass
        self._demo = demo
        self._now: dict[str, str] = {}
        """What stands in the text → what it is in this run."""

    async def check(self, guide: Path) -> None:
        """Every pasted answer is what the service answers."""
        for step in steps_of(guide.read_text(encoding="utf-8")):
            answer = await self._ask(step)
            where = f"{guide.name}: {step.request}\n→ {answer}"
            if step.kind == "sh":
                said, now = (_kinds_of_lines(text) for text in (step.answer, answer))
                assert said == now, where
                continue
            said = json.loads(step.answer)
            assert list(differences(said, answer, allowed(step.words))) == [], where
            self._learn(said, answer)

    async def record(self, guide: Path) -> None:
        """Paste the real answers into the guide, without secrets."""
        text = guide.read_text(encoding="utf-8")
        edits = []
        try:
            for step in steps_of(text):
                answer = await self._ask(step)
                if step.kind == "sh":
                    edits.append((step.answer_span, answer))
                    continue
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
        await self._wait_before(step)
        deadline = time.monotonic() + WAIT_SECONDS
        wanted = step.words.get("wait", "")
        while True:
            if step.kind == "sh":
                return await self._run(step.request)
            response = await self._send(step)
            answer = response.json()
            if wanted in response.text.replace(" ", ""):
                self._remember(step, answer)
                return answer
            assert time.monotonic() < deadline, f"never {wanted}: {answer}"
            await asyncio.sleep(0.2)

    async def _wait_before(self, step: Step) -> None:
        await asyncio.sleep(float(step.words.get("pause", 0)))
        if "later" in step.words:
            later = timedelta(minutes=int(step.words["later"]))
            if self._let_pass is None:
                await asyncio.sleep(later.total_seconds())
            else:
                await self._let_pass(later)
        if "since" in step.words:
            self._now[step.words["since"]] = _text_of(datetime.now(UTC) - timedelta(hours=1))

    async def _run(self, request: str) -> str:
        """What a command prints, but for its progress."""
        if self._demo is not None:
            request = _EVENTS.sub(self._demo, request)
        program, *arguments = shlex.split(request, comments=True)
        assert program == "cdp"
        environment = {"CDP_URL": str(self._client.base_url), "CDP_KEY": self._keys["admin"]}
        done = await asyncio.to_thread(
            run_cdp, *arguments, environment=environment, seconds=COMMAND_SECONDS
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith(_PROGRESS))

    async def _send(self, step: Step) -> httpx.Response:
        request = step.request
        for said, now in self._now.items():
            request = request.replace(said, now)
        if "at" in step.words:
            request = request.replace(step.words["at"], _text_of(datetime.now(UTC) + SOON))
        path, body = "/graphql", json.dumps({"query": request})
        if step.kind == "http":
            first, _, body = request.partition("\n")
            path = first.removeprefix("POST ")
        headers = {
            "Authorization": f"Bearer {self._keys[step.words['as']]}",
            "Content-Type": "application/json",
        }
        return await self._client.post(path, content=body.encode(), headers=headers)

    def _remember(self, step: Step, answer: Any) -> None:
        for made in (answer.get("data") or {}).values():
            if isinstance(made, dict) and made.get("__typename") == "CreatedApiKey":
                self._keys[made["apiKey"]["name"]] = made["key"]
        if "name" in step.words:
            self.answers[step.words["name"]] = answer["data"]

    def _learn(self, said: Any, now: Any) -> None:
        """Ids at places that both have."""
        if isinstance(said, dict) and isinstance(now, dict):
            for name in said.keys() & now.keys():
                self._learn(said[name], now[name])
        elif isinstance(said, list) and isinstance(now, list):
            for one, other in zip(said, now, strict=False):
                self._learn(one, other)
        elif isinstance(now, str) and alike(said, now):
            self._now[said] = now


def _text_of(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _kinds_of_lines(text: str) -> set[str]:
    """What lines say, whatever their order, their figures, and the room that those take."""
    lines = [line for line in text.splitlines() if _REPEATED not in line]
    return {re.sub(r"[\s─━┏┓┗┛┳┻╇┡┩└┘┴]+", " ", shape(line)) for line in lines}
