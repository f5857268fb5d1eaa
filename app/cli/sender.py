"""Delivers batches over the API the way a good client does: again until there is a verdict."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import httpx
import msgspec

from app.cli.runtime import Problem

T = TypeVar("T")

BATCH_PATH = "/v1/cdp/events/batch"
MAX_BATCH_BYTES = 8 << 20
"""Below the contract's 10 MiB, with room for separators."""
GIVE_UP_SECONDS = 300.0
MAX_WAIT_SECONDS = 15.0


class Result(msgspec.Struct):
    """One entry of `results`, as far as clients look at it."""

    status: str
    error_code: str | None = None
    message: str | None = None
    errors: list[dict[str, Any]] = []
    event_id: str | None = None
    original_event_id: str | None = None


class Results(msgspec.Struct):
    results: list[Result]


class Totals(msgspec.Struct):
    """What became of the events so far."""

    accepted: int = 0
    duplicate: int = 0
    error: int = 0

    def add(self, results: Sequence[Result]) -> None:
        for result in results:
            setattr(self, result.status, getattr(self, result.status) + 1)

    def __str__(self) -> str:
        return f"{self.accepted:,} accepted, {self.duplicate:,} duplicate, {self.error:,} refused"


class Sender:
    """One service, one key."""

    def __init__(self, url: str, key: str, connections: int) -> None:
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            timeout=60,
            limits=httpx.Limits(max_connections=connections),
        )
        self.requests_repeated = 0

    async def __aenter__(self) -> Sender:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def deliver(self, items: Sequence[bytes]) -> list[Result]:
        """The verdict on each item, in order.

        Transport failures, 429 and 5xx are tried again with growing pauses: the same keys make
        that safe. A body that is refused whole is tried in halves, down to the item to blame.
        raises  Problem when the key is refused, or the service is away for too long
        """
        body = b'{"items":[' + b",".join(items) + b"]}"
        waited, pause = 0.0, 0.2
        while True:
            response = await self._post(body)
            if response is not None and response.status_code == 200:
                try:
                    return msgspec.json.decode(response.content, type=Results).results
                except msgspec.DecodeError:
                    raise _not_ours(response) from None
            if response is not None and response.status_code not in (429, 500, 502, 503, 504):
                return await self._refused(response, items)
            if waited > GIVE_UP_SECONDS:
                raise Problem("the service does not answer; run the same command again to resume")
            told = response.headers.get("retry-after", "") if response is not None else ""
            seconds = float(told) if told.isdigit() else pause
            await asyncio.sleep(min(seconds, 60.0))
            self.requests_repeated += 1
            waited += seconds
            pause = min(pause * 2, MAX_WAIT_SECONDS)

    async def deliver_each(
        self, batches: Iterator[T], items_of: Callable[[T], Sequence[bytes]], connections: int
    ) -> AsyncIterator[tuple[T, list[Result]]]:
        """Several batches under way at once; their verdicts in the order of the batches."""
        waiting: deque[tuple[T, asyncio.Task[list[Result]]]] = deque()
        try:
            while True:
                for batch in islice(batches, connections - len(waiting)):
                    task = asyncio.create_task(self.deliver(items_of(batch)))
                    waiting.append((batch, task))
                if not waiting:
                    return
                batch, task = waiting[0]
                results = await task
                waiting.popleft()
                yield batch, results
        finally:
            for _, task in waiting:
                task.cancel()

    async def _post(self, body: bytes) -> httpx.Response | None:
        try:
            return await self._client.post(BATCH_PATH, content=body)
        except httpx.TransportError:
            return None

    async def _refused(self, response: httpx.Response, items: Sequence[bytes]) -> list[Result]:
        try:
            refusal = msgspec.json.decode(response.content, type=Result)
        except msgspec.DecodeError:
            raise _not_ours(response) from None
        if response.status_code in (401, 403):
            raise Problem(f"the service refused the key: {refusal.message}")
        if len(items) == 1:
            return [refusal]
        half = len(items) // 2
        return await self.deliver(items[:half]) + await self.deliver(items[half:])


def _not_ours(response: httpx.Response) -> Problem:
    return Problem(
        f"{response.url} answers {response.status_code} in words that are not this service's:"
        " is the address right?"
    )
