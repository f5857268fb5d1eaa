"""Relay connections by keyset: a page continues behind the last row of the one before.

Never counts and never skips rows: page one thousand costs what page one does.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec
import strawberry
from graphql import GraphQLError

MAX_FIRST = 200
DEFAULT_FIRST = 50

Node = TypeVar("Node")
Values = TypeVar("Values", bound=tuple[Any, ...])

First = Annotated[int, strawberry.argument(description=f"Size of the page: 1 to {MAX_FIRST}.")]
After = Annotated[
    str | None, strawberry.argument(description="`endCursor` of the page before; null: the first.")
]


@strawberry.type(description="Where a page stands among the others.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="There are rows behind this page.")
    has_previous_page: bool = strawberry.field(description="The page was asked for by a cursor.")
    start_cursor: str | None = strawberry.field(description="Cursor of the first row.")
    end_cursor: str | None = strawberry.field(
        description="Cursor of the last row: the next `after`."
    )


@strawberry.type(description="One row of a page.")
class Edge(Generic[Node]):
    node: Node = strawberry.field(description="The row itself.")
    cursor: str = strawberry.field(description="Where the row stands; opaque.")


@strawberry.type(description="One page of a list.")
class Connection(Generic[Node]):
    edges: list[Edge[Node]] = strawberry.field(description="The rows, in the order of the list.")
    page_info: PageInfo = strawberry.field(description="How to go on.")

    @strawberry.field(description="The rows without their cursors.")
    def nodes(self) -> list[Node]:
        return [edge.node for edge in self.edges]


def refuse_argument(message: str) -> GraphQLError:
    """An argument that no caller should have sent; expected refusals are in `refusals`."""
    return GraphQLError(message, extensions={"code": "BAD_USER_INPUT"})


def checked_first(first: int) -> int:
    """raises  GraphQLError BAD_USER_INPUT"""
    if not 1 <= first <= MAX_FIRST:
        raise refuse_argument(f"first must be 1 to {MAX_FIRST}")
    return first


def encode_cursor(*values: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(values)).decode().rstrip("=")


def decode_cursor(text: str, values: type[Values]) -> Values:
    """What `encode_cursor` was given: `decode_cursor(after, tuple[datetime, bytes])`.

    raises  GraphQLError BAD_USER_INPUT for anything else
    """
    try:
        raw = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
        decoded: Values = msgspec.json.decode(raw, type=values)
    except (binascii.Error, msgspec.DecodeError, UnicodeError) as error:
        raise refuse_argument("after is not a cursor of this list") from error
    return decoded


def page(
    nodes: Sequence[Node],
    first: int,
    cursor_of: Callable[[Node], str],
    *,
    after: str | None,
    resume: str | None = None,
) -> Connection[Node]:
    """A page of up to `first` rows.

    nodes   up to first + 1 rows: the one too many says that there is a next page
    resume  where the next page begins, of a list that may stop before its page is full
    """
    edges = [Edge(node=node, cursor=cursor_of(node)) for node in nodes[:first]]
    return Connection(
        edges=edges,
        page_info=PageInfo(
            has_next_page=len(nodes) > first or resume is not None,
            has_previous_page=after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=resume or (edges[-1].cursor if edges else None),
        ),
    )
