"""Group commit: requests that wait together share one transaction.

A few lanes take turns: a lane takes whatever waits for one tenant and commits it; the next flush
starts as soon as a lane is free, there is no timer. Tenants take turns too, so a busy one cannot
starve the others. Nothing is ever accepted into memory only: a caller is answered after the
commit, or told to come back.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence

import structlog

from app.access.keys import TenantSettings
from app.db.failures import DRIVER_ERRORS, Failure, failure_of, is_read_only
from app.db.pool import Pool
from app.errors import AppError, ErrorCode
from app.identity.queries import LostRace
from app.ingest.event import Outcome, Refused
from app.ingest.flush import flush
from app.ingest.standing import Delivery
from app.metrics import FLUSH_EVENTS, FLUSH_RETRIES, FLUSH_SECONDS, QUEUE_EVENTS
from app.segments.marks import Marks, OutdatedMarks
from app.settings import Settings

MAX_ATTEMPTS = 8
"""Of a flush that lost a race: each loss means that another flush has committed."""

log = structlog.get_logger()


def unavailable(why: str) -> AppError:
    return AppError(
        ErrorCode.UNAVAILABLE,
        f"{why}; try again with the same externalEventId",
        headers={"Retry-After": "1"},
    )


class Submission:
    """One request's judged items on their way to a commit. Never split over two flushes."""

    __slots__ = ("deadline", "deliveries", "future", "size_bytes", "tenant")

    def __init__(
        self, tenant: TenantSettings, deliveries: Sequence[Delivery], deadline: float
    ) -> None:
        self.tenant = tenant
        self.deliveries = deliveries
        self.size_bytes = sum(delivery.size_bytes for delivery in deliveries)
        self.deadline = deadline
        self.future: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()


class _Queue(deque[Submission]):
    """What waits of one tenant."""

    events = 0
    size_bytes = 0

    def add(self, submission: Submission) -> None:
        self.append(submission)
        self.events += len(submission.deliveries)
        self.size_bytes += submission.size_bytes

    def take(self) -> Submission:
        submission = self.popleft()
        self.events -= len(submission.deliveries)
        self.size_bytes -= submission.size_bytes
        return submission


class Committer:
    """The bounded queues of one worker and the lanes that empty them.

    pool        with a connection for each lane
    look_again  brings `marks` up to date; raises AppError UNAVAILABLE
    """

    def __init__(
        self,
        pool: Pool,
        settings: Settings,
        first_writer: int,
        marks: Marks,
        look_again: Callable[[], Awaitable[None]],
    ) -> None:
        self._pool = pool
        self._marks = marks
        self._look_again = look_again
        self._settings = settings
        self._queues: defaultdict[int, _Queue] = defaultdict(_Queue)
        self._under_way: Counter[int] = Counter()
        self._deadlines: deque[Submission] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._lanes = [
            asyncio.create_task(self._lane(first_writer + lane))
            for lane in range(settings.flush_lanes)
        ]
        self._watchdog = asyncio.create_task(self._watch())

    async def deliver(
        self, tenant: TenantSettings, deliveries: Sequence[Delivery]
    ) -> list[Outcome]:
        """Commit these; returns their outcomes in order once they are durable.

        raises  AppError UNAVAILABLE when the queue is full, or Postgres does not answer in time.
        """
        if self._closing:
            raise unavailable("the service is stopping")
        submission = Submission(
            tenant, deliveries, time.monotonic() + self._settings.answer_within_seconds
        )
        queue = self._queues[tenant.tenant_id]
        if not self._has_room(queue, submission):
            raise unavailable("the queue is full")
        queue.add(submission)
        self._deadlines.append(submission)
        QUEUE_EVENTS.set(self._waiting_events())
        self._wake.set()
        return await submission.future

    def _has_room(self, queue: _Queue, submission: Submission) -> bool:
        """A tenant may have as much waiting as it leaves free: there is room for the next one.

        What finds nothing waiting is taken, however large.
        """
        waiting = self._waiting_events()
        waiting_bytes = sum(queue.size_bytes for queue in self._queues.values())
        events = queue.events + waiting + len(submission.deliveries)
        size_bytes = queue.size_bytes + waiting_bytes + submission.size_bytes
        return not waiting or (
            events <= self._settings.max_queue_events
            and size_bytes <= self._settings.max_queue_bytes
        )

    def _waiting_events(self) -> int:
        return sum(queue.events for queue in self._queues.values())

    async def close(self) -> None:
        """Commit what waits, then stop."""
        self._closing = True
        self._wake.set()
        await asyncio.gather(*self._lanes)
        self._watchdog.cancel()

    async def _lane(self, writer: int) -> None:
        while True:
            group = self._take()
            if group:
                tenant_id = group[0].tenant.tenant_id
                self._under_way[tenant_id] += 1
                try:
                    await self._commit(group, writer)
                finally:
                    self._under_way[tenant_id] -= 1
            elif self._closing:
                self._wake.set()
                return
            else:
                self._wake.clear()
                await self._wake.wait()
                await asyncio.sleep(0)  # let requests of this same turn of the loop join

    def _take(self) -> list[Submission]:
        """The oldest requests of the tenant whose turn it is, up to a flush's worth.

        A tenant with a flush under way comes after those without: one whose flushes wait for a lock
        does not take every lane.
        """
        while self._queues:
            tenant_id = min(self._queues, key=self._under_way.__getitem__)
            queue = self._queues.pop(tenant_id)
            group: list[Submission] = []
            size = 0
            while queue and (
                not group or size + len(queue[0].deliveries) <= self._settings.max_flush_events
            ):
                submission = queue.take()
                if not submission.future.done():
                    group.append(submission)
                    size += len(submission.deliveries)
            if queue:
                self._queues[tenant_id] = queue
            QUEUE_EVENTS.set(self._waiting_events())
            if group:
                return group
        return []

    async def _commit(self, group: list[Submission], writer: int) -> None:
        deliveries = [delivery for submission in group for delivery in submission.deliveries]
        started = time.perf_counter()
        try:
            outcomes = await self._flush(group[0].tenant, deliveries, writer)
        except AppError as error:
            for submission in group:
                if not submission.future.done():
                    submission.future.set_exception(error)
            return
        except BaseException:
            for submission in group:
                submission.future.cancel()
            raise
        FLUSH_SECONDS.observe(time.perf_counter() - started)
        FLUSH_EVENTS.observe(len(deliveries))
        start = 0
        for submission in group:
            end = start + len(submission.deliveries)
            if not submission.future.done():
                submission.future.set_result(outcomes[start:end])
            start = end

    async def _flush(
        self, tenant: TenantSettings, deliveries: list[Delivery], writer: int
    ) -> list[Outcome]:
        """Flush, again where a race was lost, in halves where one item is to blame."""
        failure, must_look = Failure.RETRY, False
        for _ in range(MAX_ATTEMPTS):
            try:
                if must_look:
                    await self._look_again()
                async with self._pool.acquire(
                    timeout=self._settings.answer_within_seconds
                ) as connection:
                    return await flush(connection, tenant, deliveries, writer, self._marks)
            except LostRace:
                FLUSH_RETRIES.labels("lost_race").inc()
            except OutdatedMarks:  # the registry could not be read lately, or this process slept
                FLUSH_RETRIES.labels("outdated_marks").inc()
                must_look = True
            except AppError:
                raise
            except DRIVER_ERRORS as error:
                failure = failure_of(error)
                FLUSH_RETRIES.labels(failure.name.lower()).inc()
                log.warning(
                    "flush_failed",
                    failure=failure.name,
                    error=type(error).__name__,
                    events=len(deliveries),
                )
                if is_read_only(error):
                    await self._pool.expire_connections()  # the next ones may reach the primary
                if failure is not Failure.RETRY:
                    break
            except Exception:  # a fault of ours: it must not end the lane
                log.exception("flush_failed", failure="FAULT", events=len(deliveries))
                failure = Failure.DATA
                break
        if failure is not Failure.DATA:
            raise unavailable("the database is away or overloaded")
        if len(deliveries) == 1:
            log.error("event_failed", tenant=tenant.name, api_key_id=deliveries[0].api_key_id)
            return [Refused(ErrorCode.INTERNAL_ERROR, (), "a fault of the service")]
        half = len(deliveries) // 2
        return await self._flush(tenant, deliveries[:half], writer) + await self._flush(
            tenant, deliveries[half:], writer
        )

    async def _watch(self) -> None:
        """Answer 503 to whoever waited too long; what is in flight may still be committed."""
        while True:
            await asyncio.sleep(0.1)
            now = time.monotonic()
            waiting = self._deadlines
            while waiting and (waiting[0].future.done() or waiting[0].deadline <= now):
                submission = waiting.popleft()
                if not submission.future.done():
                    submission.future.set_exception(
                        unavailable("the database did not answer in time")
                    )
