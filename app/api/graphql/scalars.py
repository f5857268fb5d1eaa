"""Scalars of our own. Never JSON where a type can be said."""

from __future__ import annotations

from typing import NewType

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

Number = NewType("Number", float)
"""int or float, as JSON has them."""


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise GraphQLError("Expected value of type 'Number'; it is not a number")
    return value


SCALARS: dict[object, ScalarDefinition] = {
    Number: strawberry.scalar(
        name="Number",
        description="A JSON number; whole ones keep every digit.",
        serialize=_number,
        parse_value=_number,
    )
}
"""For the schema's configuration."""
