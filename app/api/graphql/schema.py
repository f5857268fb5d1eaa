"""The roots of the GraphQL API. No logic: each noun has a file of its own."""

from __future__ import annotations

from typing import Any

import strawberry
import structlog
from graphql import GraphQLError
from strawberry.exceptions import MissingQueryError
from strawberry.extensions import MaskErrors
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionContext

from app.api.graphql.audiences import AudiencesQuery
from app.api.graphql.changes import ChangesQuery
from app.api.graphql.deliveries import DeliveriesQuery
from app.api.graphql.draft_lists import DraftsQuery
from app.api.graphql.drafts import DraftsMutation
from app.api.graphql.event_types import EventTypesMutation, EventTypesQuery
from app.api.graphql.events import EventsQuery
from app.api.graphql.execution import ForgetfulExecutor
from app.api.graphql.explanations import ExplanationsQuery
from app.api.graphql.impact import ImpactMutation, ImpactQuery
from app.api.graphql.keys import KeysMutation, KeysQuery
from app.api.graphql.limits import limiting_extensions
from app.api.graphql.links import LinksQuery
from app.api.graphql.live import LiveSubscription
from app.api.graphql.profiles import ProfilesQuery
from app.api.graphql.proposals import ProposalsMutation
from app.api.graphql.quarantine import QuarantineMutation, QuarantineQuery
from app.api.graphql.retries import RetriesQuery
from app.api.graphql.scalars import SCALARS
from app.api.graphql.segments import SegmentsMutation, SegmentsQuery
from app.api.graphql.sources import SourcesMutation, SourcesQuery
from app.api.graphql.stats import StatsQuery
from app.api.graphql.unmerge import UnmergeMutation
from app.db.failures import is_too_slow, is_transient, is_unusable_value

log = structlog.get_logger()


@strawberry.type(description="What can be asked.")
class Query(
    AudiencesQuery,
    ChangesQuery,
    DeliveriesQuery,
    DraftsQuery,
    EventTypesQuery,
    EventsQuery,
    ExplanationsQuery,
    LinksQuery,
    ProfilesQuery,
    ImpactQuery,
    KeysQuery,
    SegmentsQuery,
    QuarantineQuery,
    RetriesQuery,
    SourcesQuery,
    StatsQuery,
):
    pass


@strawberry.type(description="What can be changed.")
class Mutation(
    DraftsMutation,
    EventTypesMutation,
    ImpactMutation,
    KeysMutation,
    ProposalsMutation,
    SegmentsMutation,
    QuarantineMutation,
    SourcesMutation,
    UnmergeMutation,
):
    pass


@strawberry.type(description="What can be listened to, over WebSocket.")
class Subscription(LiveSubscription):
    pass


NO_OPERATION = (MissingQueryError, CannotGetOperationTypeError, InvalidOperationTypeError)
"""What Strawberry raises when there is nothing to run."""


class Schema(strawberry.Schema):
    """Logs faults of the service; a caller's mistakes are the caller's to read."""

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        for error in errors:
            if _is_fault(error) and not is_unusable_value(error.original_error):
                log.error("graphql_failed", path=error.path, exc_info=error.original_error)


def _is_fault(error: GraphQLError) -> bool:
    original = error.original_error
    return original is not None and not isinstance(original, (GraphQLError, *NO_OPERATION))


class HideFaults(MaskErrors):
    """Says of a fault that there was one, and no more; a slow or absent database is told apart."""

    def anonymise_error(self, error: GraphQLError) -> GraphQLError:
        code, message = _what_went_wrong(error.original_error)
        return GraphQLError(message, nodes=error.nodes, path=error.path, extensions={"code": code})


def _what_went_wrong(fault: Exception | None) -> tuple[str, str]:
    if is_too_slow(fault):
        return "TOO_SLOW", "the database took too long: ask for less"
    if is_unusable_value(fault):
        return "BAD_USER_INPUT", "a value is none that the database knows, like a text with NUL"
    if is_transient(fault):
        return "UNAVAILABLE", "the database is away or overloaded: try again"
    return "INTERNAL_ERROR", "a fault of the service"


def build_schema(*, introspection: bool = True) -> Schema:
    extensions: list[Any] = [
        *limiting_extensions(introspection=introspection),
        lambda: HideFaults(should_mask_error=_is_fault),
    ]
    config = StrawberryConfig(scalar_map=SCALARS)
    return Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        extensions=extensions,
        config=config,
        execution_context_class=ForgetfulExecutor,
    )
