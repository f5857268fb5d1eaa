"""The text of docs/compatibility.md: the modes, the rules and the conformance score.

Never runs the public cases: they are not in this repository. A test holds SCORE against them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from app.registry.evolution import MENDS
from app.registry.spec import MODES

Table = Callable[[tuple[str, ...], list[tuple[str, ...]]], str]


class Score(msgspec.Struct, frozen=True):
    """How the public cases are judged, each in both directions."""

    right: int
    over_strict: int
    """A change that breaks nothing is called a breakage."""
    unsound: int
    """A change that breaks something is let pass."""
    refused: Mapping[str, int]
    """Cases by what the linter refuses first in them: a keyword, or a rule."""


SCORE = Score(
    right=54,
    over_strict=0,
    unsound=0,
    refused={
        "$schema": 4,
        "additionalItems": 19,
        "additionalProperties": 8,
        "allOf": 6,
        "anyOf": 4,
        "const": 3,
        "contains": 1,
        "contentEncoding": 3,
        "contentMediaType": 3,
        "definitions": 6,
        "dependencies": 3,
        "enum": 1,
        "id": 1,
        "if": 4,
        "items": 5,
        "maxProperties": 3,
        "minProperties": 3,
        "not": 3,
        "oneOf": 6,
        "patternProperties": 2,
        "propertyNames": 1,
        "schema_not_object": 1,
        "type": 1,
    },
)

MEANINGS: Mapping[str, str] = {
    "NONE": "Anything may be published.",
    "BACKWARD": "The new version accepts what the last one accepted: producers may stay as they"
    " are.",
    "BACKWARD_TRANSITIVE": "The new version accepts what any earlier one accepted: no event that"
    " was valid becomes invalid. The default.",
    "FORWARD": "The last version accepts what the new one accepts: consumers built on the last one"
    " may stay as they are.",
    "FORWARD_TRANSITIVE": "Every earlier version accepts what the new one accepts.",
    "FULL": "BACKWARD and FORWARD, against the last version.",
    "FULL_TRANSITIVE": "BACKWARD and FORWARD, against every earlier version.",
}

REASONS: Mapping[Sequence[str], str] = {
    ("allOf", "anyOf", "oneOf", "not", "if"): "Conditions and combinations: that one implies"
    " another takes a solver to tell, and what it finds has no one path to mend.",
    ("items", "additionalItems"): "Tuples: an array has one schema for all its items.",
    ("additionalProperties", "patternProperties", "propertyNames", "dependencies"): "Rules for"
    " properties that nobody registered. `additionalProperties` is true or false.",
    ("minProperties", "maxProperties", "contains"): "Counts of properties and of matching items.",
    ("definitions",): "References: a document stands by itself.",
    ("contentEncoding", "contentMediaType"): "Nothing would check them.",
    ("const", "enum"): "Values are texts, numbers, true, false and null, and at least one: an array"
    " for a text, and an empty list, can never be met.",
    ("type",): "One type, or one and null.",
    ("$schema",): "Written for draft 4, in which `exclusiveMinimum` was true or false.",
    ("id",): "No keyword of this draft, and an unknown keyword is taken for a misspelt one.",
    ("schema_not_object",): "`false` for a property that may never be there.",
}


def compatibility_markdown(command: str, table: Table) -> str:
    refused = sum(SCORE.refused.values())
    judged = SCORE.right + SCORE.over_strict + SCORE.unsound
    modes = [(f"`{mode}`", MEANINGS[mode]) for mode in MODES]
    rules = [(f"`{rule}`", mend) for rule, mend in MENDS.items()]
    reasons = [
        (", ".join(f"`{name}`" for name in names), str(sum(map(SCORE.refused.__getitem__, names))),
         why)
        for names, why in REASONS.items()
    ]  # fmt: skip
    return f"""\
# What may follow a version

Generated from `app/registry/evolution.py` by `{command}`.

A published version never changes. A new one is compared with those before it, under the event
type's compatibility mode, and every breakage is named: the path, the rule, what the old and the
new version say there, and what would mend it.

## Modes

{table(("mode", "promise"), modes)}

"Every earlier version" begins at the last one that was forced: what it broke is broken, and is
not held against those that come after it.

A property that is marked segmentable keeps its type in every mode but `NONE`, even where no event
would be refused: segments were built on it.

## Rules

{table(("rule", "what would mend it"), rules)}

The comparison is sound, not complete. A change that it lets pass makes no valid event invalid.
Where the answer would need reasoning about patterns or formats it says breakage: two patterns are
the same when they are, letter for letter.

Patterns run on a linear engine, without look-around and back-references: no pattern can be slow,
so there is no rule for slow ones. One that is too large when compiled is refused.

## Score

Held against the {judged + refused} cases of JSON Schema evolution that Apicurio Registry publishes
(Apache-2.0), each in both directions:

{
        table(
            ("judged", "cases"),
            [
                ("right", str(SCORE.right)),
                ("over-strict: called a breakage and is none", str(SCORE.over_strict)),
                ("unsound: let pass and breaks something", str(SCORE.unsound)),
                ("refused by the linter, so never judged", str(refused)),
            ],
        )
    }

A case's schema stands as one property of a document that accepts unknown properties. Two things
are said in other words: the schema `true` as `{{}}`, and a required name without a schema as a
property that may be anything. Refused, by what the linter finds first:

{table(("it uses", "cases", "why that is not supported"), reasons)}
"""
