"""What a query may cost, decided from its text alone, before anything is read.

Never runs a query and never looks at variables: what is remembered of a text holds for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    ValidationContext,
    ValidationRule,
    get_named_type,
    get_nullable_type,
    is_list_type,
)
from strawberry.extensions import (
    AddValidationRules,
    DisableIntrospection,
    MaxTokensLimiter,
    ParserCache,
    SchemaExtension,
    ValidationCache,
)

from app.api.graphql.connection import MAX_FIRST

MAX_DEPTH = 16
MAX_ALIASES = 30
MAX_TOKENS = 3_000
MAX_COST = 20_000
"""Fields that an answer could have: a page of 200 rows of 20 fields is 4,000."""
CACHED_QUERIES = 500
PLAIN_LIST = 10
"""What a list without a size counts as: the properties of a version, the sources of a key."""
WEIGHTS = {
    "breakages": 50,
    "findings": 50,
    "definitions": 20,
    "checkCompatibility": 100,
    "unmergeProfile": 5_000,
}
"""Fields that think rather than read, or keep ingest waiting."""
STREAMED = 40
"""How often one answer of a subscription counts: it comes again and again."""
_PAGE_ARGUMENTS = ("first", "sample")
_WITH_FIELDS = (GraphQLObjectType, GraphQLInterfaceType)


class Measure(NamedTuple):
    """Of one selection: how deep, how many aliases, how many fields an answer could have."""

    depth: int = 0
    aliases: int = 0
    cost: int = 0


class QueryLimits(ValidationRule):
    """Measures an operation and refuses what is too deep, too wide or too costly.

    A list's length is its `first`, at most 200 and never less than one; a variable counts as 200.
    Each fragment is measured once and counted wherever it is used: Strawberry's own depth and alias
    limits expand fragments again and again, so forty small ones keep them busy for years
    (measured: no end within minutes).
    """

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self._fragments: dict[str, Measure] = {}

    def enter_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> None:
        root = self.context.schema.get_root_type(node.operation)
        found = self._measure(node.selection_set, root)
        times = STREAMED if node.operation is OperationType.SUBSCRIPTION else 1
        for name, value, limit in (
            ("depth", found.depth, MAX_DEPTH),
            ("number of aliases", found.aliases, MAX_ALIASES),
            ("cost", times * found.cost, MAX_COST),
        ):
            if value > limit:
                self.report_error(
                    GraphQLError(
                        f"the query's {name} is {value}; it may be {limit}: ask for less",
                        node,
                        extensions={"code": "QUERY_TOO_LARGE"},
                    )
                )

    def _measure(
        self, selection: SelectionSetNode | None, parent: GraphQLNamedType | None
    ) -> Measure:
        depth = aliases = cost = 0
        for node in selection.selections if selection else ():
            if isinstance(node, FieldNode):
                below = self._measure_field(node, parent)
            elif isinstance(node, FragmentSpreadNode):
                below = self._measure_fragment(node.name.value)
            else:
                assert isinstance(node, InlineFragmentNode)
                below = self._measure(node.selection_set, self._condition(node) or parent)
            depth = max(depth, below.depth)
            aliases += below.aliases
            cost += below.cost
        return Measure(depth, aliases, cost)

    def _measure_field(self, node: FieldNode, parent: GraphQLNamedType | None) -> Measure:
        name = node.name.value
        fields = parent.fields if isinstance(parent, _WITH_FIELDS) else {}
        field = fields.get(name)
        below = self._measure(node.selection_set, get_named_type(field.type) if field else None)
        return Measure(
            below.depth + 1,
            below.aliases + (node.alias is not None),
            WEIGHTS.get(name, 1) + (_rows(node, field) if field else 1) * below.cost,
        )

    def _measure_fragment(self, name: str) -> Measure:
        if name not in self._fragments:
            self._fragments[name] = Measure()  # one inside itself is refused by another rule
            fragment = self.context.get_fragment(name)
            if fragment is not None:
                self._fragments[name] = self._measure(
                    fragment.selection_set, self._condition(fragment)
                )
        return self._fragments[name]

    def _condition(
        self, node: InlineFragmentNode | FragmentDefinitionNode
    ) -> GraphQLNamedType | None:
        named = node.type_condition
        return self.context.schema.get_type(named.name.value) if named else None


def _rows(node: FieldNode, field: GraphQLField) -> int:
    """How many rows a field may bring: 1 to MAX_FIRST, whatever is asked for."""
    page = next((name for name in _PAGE_ARGUMENTS if name in field.args), None)
    if page is None:
        plain = is_list_type(get_nullable_type(field.type))
        return PLAIN_LIST if plain and node.name.value not in ("edges", "nodes") else 1
    for argument in node.arguments or ():
        if argument.name.value == page:
            value = argument.value
            literal = value.value if isinstance(value, IntValueNode) else ""
            return max(int(literal), 1) if 0 < len(literal) < 4 else MAX_FIRST
    default = field.args[page].default_value
    return default if isinstance(default, int) and default > 0 else 1


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
