"""What a subscription remembers of the answers that it gave: nothing."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator

import strawberry
from graphql.execution.collect_fields import FieldDetails

from app.api.graphql.execution import ForgetfulExecutor
from app.api.graphql.schema import build_schema


@strawberry.type
class Answer:
    number: int


@strawberry.type
class Query:
    number: int


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def answers(self) -> AsyncGenerator[Answer, None]:
        for number in range(1_000):
            yield Answer(number=number)


def test_the_schema_is_run_by_the_executor_that_forgets() -> None:
    assert build_schema().execution_context_class is ForgetfulExecutor


async def test_an_answer_leaves_nothing_behind() -> None:
    schema = strawberry.Schema(
        Query, subscription=Subscription, execution_context_class=ForgetfulExecutor
    )
    told, kept = 0, 0
    async for _ in await schema.subscribe("subscription { answers { number } }"):
        told += 1
        if told == 900:
            gc.collect()
            kept = sum(isinstance(one, FieldDetails) for one in gc.get_objects())
    assert told == 1_000
    assert kept < 100
