"""What a query may cost, decided from its text alone, before anything is read.

Never runs a query and never looks at variables: what is remembered of a text holds for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValidationContext,
    ValidationRule,
)
from strawberry.extensions import (
    AddValidationRules,
    DisableIntrospection,
    MaxTokensLimiter,
    ParserCache,
    SchemaExtension,
    ValidationCache,
)

from app.api.graphql.connection import DEFAULT_FIRST, MAX_FIRST

MAX_DEPTH = 16
MAX_ALIASES = 30
MAX_TOKENS = 3_000
MAX_COST = 20_000
"""Fields that an answer could have: a page of 200 rows of 20 fields is 4,000."""
CACHED_QUERIES = 500
_PAGE_ARGUMENTS = ("first", "sample", "limit")


class Measure(NamedTuple):
    """Of one selection: how deep, how many aliases, how many fields an answer could have."""

    depth: int = 0
    aliases: int = 0
    cost: int = 0


class QueryLimits(ValidationRule):
    """Measures an operation and refuses what is too deep, too wide or too costly.

    A list's length is its `first`; a variable counts as the greatest `first` there is. Each
    fragment is measured once and counted wherever it is used: Strawberry's own depth and alias
    limits expand fragments again and again, so forty small ones keep them busy for years
    (measured: no end within minutes).
    """

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self._fragments: dict[str, Measure] = {}

    def enter_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> None:
        found = self._measure(node.selection_set)
        for name, value, limit in (
            ("depth", found.depth, MAX_DEPTH),
            ("number of aliases", found.aliases, MAX_ALIASES),
            ("cost", found.cost, MAX_COST),
        ):
            if value > limit:
                self.report_error(
                    GraphQLError(
                        f"the query's {name} is {value}; it may be {limit}: ask for less",
                        node,
                        extensions={"code": "QUERY_TOO_LARGE"},
                    )
                )

    def _measure(self, selection: SelectionSetNode | None) -> Measure:
        depth = aliases = cost = 0
        for node in selection.selections if selection else ():
            if isinstance(node, FieldNode):
                below = self._measure(node.selection_set)
                below = Measure(
                    below.depth + 1,
                    below.aliases + (node.alias is not None),
                    1 + _rows(node) * below.cost,
                )
            elif isinstance(node, FragmentSpreadNode):
                below = self._measure_fragment(node.name.value)
            else:
                assert isinstance(node, InlineFragmentNode)
                below = self._measure(node.selection_set)
            depth = max(depth, below.depth)
            aliases += below.aliases
            cost += below.cost
        return Measure(depth, aliases, cost)

    def _measure_fragment(self, name: str) -> Measure:
        if name not in self._fragments:
            self._fragments[name] = Measure()  # one inside itself is refused by another rule
            fragment = self.context.get_fragment(name)
            if fragment is not None:
                self._fragments[name] = self._measure(fragment.selection_set)
        return self._fragments[name]


def _rows(node: FieldNode) -> int:
    """How many rows a field may bring."""
    for argument in node.arguments or ():
        if argument.name.value in _PAGE_ARGUMENTS:
            value = argument.value
            return int(value.value) if isinstance(value, IntValueNode) else MAX_FIRST
    return DEFAULT_FIRST if _is_page(node) else 1


def _is_page(node: FieldNode) -> bool:
    """Whether it is a connection, asked for without `first`."""
    selections = node.selection_set.selections if node.selection_set else ()
    names = {field.name.value for field in selections if isinstance(field, FieldNode)}
    return bool(names & {"edges", "nodes"})


def limiting_extensions(
    *, introspection: bool
) -> list[type[SchemaExtension] | Callable[[], SchemaExtension]]:
    """In the order in which they run. Parsing and validating are remembered: 5 × (measured)."""
    return [
        lambda: MaxTokensLimiter(max_token_count=MAX_TOKENS),
        lambda: AddValidationRules([QueryLimits]),
        *([] if introspection else [DisableIntrospection]),
        lambda: ParserCache(maxsize=CACHED_QUERIES),
        lambda: ValidationCache(maxsize=CACHED_QUERIES),
    ]
