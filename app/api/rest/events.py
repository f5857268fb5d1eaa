"""The two endpoints that take events.

Plain ASGI handlers with ready bytes: Litestar's own request machinery costs more than decoding,
judging and hashing together (measured). Their OpenAPI is in `openapi.py`, held against them by a
test.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import cache

import prometheus_client
import structlog
from litestar.types import HTTPScope, Receive, Send

from app.access.authenticator import Authenticator
from app.access.keys import Principal, Scope
from app.access.rate import Allowance, Limit, RateLimiter
from app.api.rest.answers import (
    Answer,
    accepted_or_refused,
    batch_body,
    rate_headers,
    refusal,
    wants_problem,
)
from app.api.rest.bodies import Disconnected, read_body
from app.errors import AppError, ErrorCode
from app.ingest.event import Accepted, Duplicate, Outcome
from app.ingest.service import Ingest
from app.ingest.split import split_batch
from app.metrics import OUTCOMES, REQUESTS
from app.settings import Settings

THREAD_ABOVE_BYTES = 1 << 20
"""A body this large is split in a thread, so that a hostile one does not hold others up."""

log = structlog.get_logger()

_random_bits = random.Random(os.urandom(16)).getrandbits  # noqa: S311 - names a request, no secret
Work = Callable[["Call", Principal, bytes], Awaitable[Answer]]


class Call:
    """One request on its way through."""

    __slots__ = ("allowance", "as_problem", "headers", "principal", "request_id")

    def __init__(self, scope: HTTPScope) -> None:
        self.request_id = f"req_{_random_bits(64):016x}"
        self.headers = dict(scope["headers"])
        self.as_problem = wants_problem(self.headers)
        self.principal: Principal | None = None
        self.allowance: Allowance | None = None


class EventsEndpoint:
    """Who calls, how much they may, what becomes of their events, and how they are answered."""

    def __init__(
        self, ingest: Ingest, authenticator: Authenticator, limiter: RateLimiter, settings: Settings
    ) -> None:
        self._ingest = ingest
        self._authenticator = authenticator
        self._limiter = limiter
        self._settings = settings

    async def single(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send, "single", self._deliver_one, 1)

    async def batch(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send, "batch", self._deliver_many, 0)

    async def _deliver_one(self, call: Call, principal: Principal, body: bytes) -> Answer:
        outcomes = await self._ingest.deliver(principal, (body,))
        _count(outcomes)
        return accepted_or_refused(outcomes[0], call.request_id, as_problem=call.as_problem)

    async def _deliver_many(self, call: Call, principal: Principal, body: bytes) -> Answer:
        if len(body) > THREAD_ABOVE_BYTES:
            items = await asyncio.to_thread(split_batch, body)
        else:
            items = split_batch(body)
        self._charge(call, principal, len(items))
        outcomes = await self._ingest.deliver(principal, items) if items else []
        _count(outcomes)
        return Answer(200, batch_body(outcomes))

    def _charge(self, call: Call, principal: Principal, events: int) -> None:
        """Count events against the limits of the key and of its tenant; 0 only asks for room.

        raises  AppError RATE_LIMITED, counting nothing
        """
        tenant = principal.tenant
        of_key = principal.events_per_minute or self._settings.key_events_per_minute
        of_tenant = tenant.events_per_minute or self._settings.tenant_events_per_minute
        call.allowance = self._limiter.charge(
            (
                Limit(f"key:{principal.key_id}", of_key),
                Limit(f"tenant:{tenant.tenant_id}", of_tenant),
            ),
            events,
            time.time(),
        )
        if not call.allowance.allowed or (not events and call.allowance.remaining == 0):
            raise AppError(
                ErrorCode.RATE_LIMITED,
                f"over the limit of {call.allowance.limit} events a minute",
                headers={"Retry-After": str(call.allowance.reset_seconds)},
            )

    async def _serve(
        self,
        scope: HTTPScope,
        receive: Receive,
        send: Send,
        endpoint: str,
        work: Work,
        known_events: int,
    ) -> None:
        call = Call(scope)
        started = time.perf_counter()
        try:
            answer = await self._answer(call, scope, receive, work, known_events)
        except Disconnected:
            return
        except AppError as error:
            answer = refusal(error, call.request_id, as_problem=call.as_problem)
        except Exception:
            log.exception("request_failed", request_id=call.request_id, endpoint=endpoint)
            fault = AppError(ErrorCode.INTERNAL_ERROR, "a fault of the service")
            answer = refusal(fault, call.request_id, as_problem=call.as_problem)
        await _send(send, answer, call)
        _latency(endpoint, answer.status).observe(time.perf_counter() - started)
        if answer.status >= 400:
            log.info(
                "refused",
                request_id=call.request_id,
                endpoint=endpoint,
                status=answer.status,
                api_key_id=call.principal.key_id if call.principal else None,
            )

    async def _answer(
        self, call: Call, scope: HTTPScope, receive: Receive, work: Work, known_events: int
    ) -> Answer:
        """known_events  how many the body holds, as far as one can say without reading it"""
        if scope["method"] != "POST":
            raise AppError(
                ErrorCode.METHOD_NOT_ALLOWED, "events are sent by POST", headers={"Allow": "POST"}
            )
        principal = await self._authenticator.authenticate(call.headers, Scope.EVENTS_WRITE)
        call.principal = principal
        self._charge(call, principal, known_events)
        body = await read_body(call.headers, receive, self._settings.body_timeout_seconds)
        return await work(call, principal, body)


async def _send(send: Send, answer: Answer, call: Call) -> None:
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", b"%d" % len(answer.body)),
        (b"x-request-id", call.request_id.encode()),
        *answer.headers,
    ]
    if call.allowance is not None:
        headers += rate_headers(call.allowance)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})


def _count(outcomes: Sequence[Outcome]) -> None:
    if len(outcomes) == 1:
        _outcomes(_kind(outcomes[0])).inc()
        return
    for kind, number in Counter(map(_kind, outcomes)).items():
        _outcomes(kind).inc(number)


def _kind(outcome: Outcome) -> str:
    if isinstance(outcome, Accepted):
        return "accepted"
    if isinstance(outcome, Duplicate):
        return "duplicate"
    return "conflict" if outcome.original_event_id is not None else "rejected"


@cache
def _outcomes(kind: str) -> prometheus_client.Counter:
    return OUTCOMES.labels(kind)


@cache
def _latency(endpoint: str, status: int) -> prometheus_client.Histogram:
    return REQUESTS.labels(endpoint, str(status))
