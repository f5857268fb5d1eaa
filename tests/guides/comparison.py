"""Whether an answer is what a guide says: to the letter, but for what differs from run to run.

Pure. Ids, keys and times must look alike. A step may allow more: `figures=vary` other figures and
other lengths of lists, though none that is 0 or empty here and not there; `data=FIELD,…` any value
of these fields, as it comes from the data. What kind of answer it is, which fields it has, names
of states, rules and reasons are never allowed to differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

_CHANGING = (
    *(re.compile(f"{prefix}_[0-9a-z]+") for prefix in ("evt", "prf", "qrn", "imp", "req", "rpl")),
    re.compile(r"cdp_[a-z]+_[a-z2-7]{10}_(?:[a-z2-7]{32}|…)"),
    re.compile(r"[a-z2-7]{10}"),
    re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)"),
)
_FIGURE = re.compile(r"\d[\d,.]*")


class Allowed(msgspec.Struct, frozen=True):
    """What may differ beside ids, keys and times."""

    figures: bool = False
    data: frozenset[str] = frozenset()


def allowed(words: Mapping[str, str]) -> Allowed:
    """As the words behind a block's language say."""
    return Allowed(
        figures=words.get("figures") == "vary",
        data=frozenset(words.get("data", "").split(",")) - {""},
    )


def differences(said: Any, now: Any, allow: Allowed, path: str = "") -> Iterator[str]:
    """Places at which the answer is not what the guide says; none is as it should be."""
    if path.rpartition("/")[2] in allow.data:
        return
    if type(said) is not type(now):
        yield f"{path}: {said!r} is {now!r}"
    elif isinstance(said, dict):
        for name in sorted(said.keys() ^ now.keys()):
            yield f"{path}/{name} is in one of them only"
        for name in said.keys() & now.keys():
            yield from differences(said[name], now[name], allow, f"{path}/{name}")
    elif isinstance(said, list):
        if not (bool(said) == bool(now) if allow.figures else len(said) == len(now)):
            yield f"{path}: {len(said)} entries are {len(now)}"
        for one, other in zip(said, now, strict=False):
            yield from differences(one, other, allow, path)
    elif not _same(said, now, allow):
        yield f"{path}: {said!r} is {now!r}"


def _same(said: Any, now: Any, allow: Allowed) -> bool:
    if said == now or alike(said, now):
        return True
    if not allow.figures or isinstance(said, bool | None):
        return False
    if isinstance(said, str):
        return shape(said) == shape(now)
    return bool(said) == bool(now)


def shape(text: str) -> str:
    """A text without its figures."""
    return _FIGURE.sub("0", text)


def alike(said: Any, now: Any) -> bool:
    """Whether both are ids, keys or times of one form."""
    return isinstance(said, str) and any(
        form.fullmatch(said) and form.fullmatch(now) for form in _CHANGING
    )
