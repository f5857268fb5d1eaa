"""Cuts the body of a batch into its items, so that each one is judged on its own. Pure.

Never looks into an item: a broken one must not touch its siblings.
"""

from __future__ import annotations

import re

import msgspec

from app.errors import REASONS, AppError, ErrorCode, Violation, summarise
from app.ingest.content import STRING
from app.ingest.grammar import BROKEN, members_of, pointer, similar_name, syntax_flaw

MAX_BATCH_ITEMS = 2_000
MAX_COMMAS = 1_000_000
"""Up to here each comma may stand for an item of 80 bytes; beyond, the cutter stops early."""
MAX_CUTS = 1_000_000
"""Brackets that the cutter follows, in about a second. Ten MiB of real events have a third."""

_WHITE = rb"[ \t\r\n]*+"
_PLAIN = rb'[^"\[\]{}]++|' + STRING
_HEAD = re.compile(_WHITE + rb"\{" + _WHITE + rb'"items"' + _WHITE + rb":" + _WHITE + rb"\[")
_TAIL = re.compile(_WHITE + rb"\}" + _WHITE + rb"\Z")
_BETWEEN = re.compile(rb'(?:[^"\[\]{},]++|' + STRING + rb')*+([\[{]++|[\]},"]|\Z)', re.DOTALL)
"""Outside of nested values, up to the next mark; a mark `"` is a string that never ends."""
_INSIDE = re.compile(
    rb"(?:" + _PLAIN + rb"|[\[{](?:" + _PLAIN + rb')*+[\]}])*+([\[{]++|[\]}]++|"|\Z)', re.DOTALL
)
"""Inside a value, up to the next brackets; whole flat values are passed over."""


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    items: list[msgspec.Raw]


_BATCH = msgspec.json.Decoder(_Batch)


def split_batch(body: bytes, max_items: int = MAX_BATCH_ITEMS) -> list[bytes]:
    """The items as sent, in order; none when `items` is empty.

    raises  AppError MALFORMED_JSON when the structure around the items is broken,
            VALIDATION_FAILED when the body is not {"items": […]}, PAYLOAD_TOO_LARGE.
    cost    1 ms a MiB; a body with a broken item 10 to 100 times that, a second at most.
    """
    if body.count(b",") > MAX_COMMAS:
        return _cut(body, max_items)
    try:
        items = _BATCH.decode(body).items
    except msgspec.ValidationError:
        return _last_items(body, max_items)
    except BROKEN:
        return _cut(body, max_items)
    if len(items) > max_items:
        raise _too_many(max_items, str(len(items)))
    return [bytes(item) for item in items]


def _last_items(body: bytes, max_items: int) -> list[bytes]:
    """The items of a body whose members are not just one array of items; the last ones count."""
    flaw = syntax_flaw(body)
    if flaw is not None:
        deep = flaw == "nesting_too_deep"
        code = ErrorCode.VALIDATION_FAILED if deep else ErrorCode.MALFORMED_JSON
        raise _refused(code, Violation("", flaw, REASONS[flaw]))
    if not body.lstrip().startswith(b"{"):
        violation = Violation("", "field_type", "the body must be an object")
        raise _refused(ErrorCode.VALIDATION_FAILED, violation)
    members = members_of(body)
    found = [
        Violation(
            f"/{pointer(name)}",
            "field_unknown",
            "a batch has no such field",
            similar_name(name, ("items",)),
        )
        for name in members
        if name != "items"
    ]
    items = members.get("items", b"null")
    if items == b"null":
        found.append(Violation("/items", "field_missing", "items is required"))
    elif not items.startswith(b"["):
        found.append(Violation("/items", "field_type", "items must be an array"))
    if found:
        raise _refused(ErrorCode.VALIDATION_FAILED, *found)
    return _cut(b'{"items":%b}' % items, max_items)


def _cut(body: bytes, max_items: int) -> list[bytes]:
    """The items of a body that does not decode as a whole, by its strings and brackets alone."""
    head = _HEAD.match(body)
    if head is None:
        return _last_items(body, max_items)
    items: list[bytes] = []
    start = position = head.end()
    depth = 0
    for _ in range(MAX_CUTS):
        mark = (_INSIDE if depth else _BETWEEN).match(body, position)
        if mark is None or mark[1] in (b"", b'"') or (depth == 0 and mark[1] == b"}"):
            raise _broken()
        position = mark.end()
        if mark[1][0] in b"[{":
            depth += len(mark[1])
        elif depth:
            closed = min(depth, len(mark[1]))
            position = mark.start(1) + closed
            depth -= closed
        else:
            item = body[start : mark.start(1)].strip(b" \t\r\n")
            if item:
                items.append(item)
            start = position
            if len(items) > max_items:
                raise _too_many(max_items, "more")
            if not item and (items or mark[1] == b","):
                raise _broken()
            if mark[1] == b"]":
                whole = _TAIL.match(body, position) is not None
                return items if whole else _last_items(body, max_items)
    message = f"a batch may have {MAX_CUTS} brackets around other brackets; this one has more"
    raise _refused(ErrorCode.PAYLOAD_TOO_LARGE, Violation("/items", "size", message))


def _broken() -> AppError:
    message = "the array of items is broken"
    return _refused(ErrorCode.MALFORMED_JSON, Violation("", "json_syntax", message))


def _too_many(max_items: int, count: str) -> AppError:
    message = f"a batch may have {max_items} items; this one has {count}"
    return _refused(ErrorCode.PAYLOAD_TOO_LARGE, Violation("/items", "size", message))


def _refused(code: ErrorCode, *found: Violation) -> AppError:
    return AppError(code, summarise(found), found)
