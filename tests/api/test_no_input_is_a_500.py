"""Whatever is sent, the answer is one of the catalogue's and never a fault of the service."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import CATALOGUE, ErrorCode
from tests.support import EXAMPLE, Api

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(st.characters(categories=["Cs", "Cc", "Co", "Cn"]))
    | st.sampled_from(["", "\0", "1e400", "2026-02-30T00:00:00Z", "9" * 5_000, "\ud800"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["source", "externalEventId", "eventType", "occurredAt", "identity", "properties"]


@st.composite
def events(draw: st.DrawFn) -> Any:
    """The example with some of it replaced by anything, or anything at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(VALUES)
    event = json.loads(json.dumps(EXAMPLE))
    for name in draw(st.lists(st.sampled_from([*FIELDS, "other"]), max_size=3)):
        event[name] = draw(VALUES)
    for part in ("identity", "properties"):
        if isinstance(event[part], dict):
            names = st.sampled_from([*event[part], "phone", "deviceKey", "x"])
            event[part] |= draw(st.dictionaries(names, VALUES, max_size=2))
    return event


def as_body(value: Any) -> bytes:
    """JSON as a careless sender writes it: NaN, lone surrogates and all."""
    return json.dumps(value).encode()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A body with some bytes cut out, doubled or exchanged."""
    body = bytearray(as_body(draw(events())))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(body)))
        body[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(body)


FUZZ = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
BODIES = st.builds(as_body, events()) | damaged() | st.binary(max_size=50)
NO_FAULT = {ErrorCode.INTERNAL_ERROR, ErrorCode.UNAVAILABLE}


@pytest.mark.contract("4.13: no input gives a 500")
@FUZZ
@given(body=BODIES)
async def test_no_event_is_a_500(api: Api, body: bytes) -> None:
    response = await api.post(body)
    answer = response.json()
    if answer["status"] == "error":
        code = ErrorCode(answer["error_code"])
        assert code not in NO_FAULT, body
        assert response.status_code == CATALOGUE[code].status
    else:
        assert (response.status_code, answer["status"]) in {(202, "accepted"), (200, "duplicate")}


@pytest.mark.contract("4.13: no item of a batch is a 500 or touches its siblings")
@FUZZ
@given(items=st.lists(st.builds(as_body, events()), max_size=4))
async def test_no_item_is_a_500_and_good_siblings_are_taken(api: Api, items: list[bytes]) -> None:
    good = msgspec.json.encode(EXAMPLE)
    response = await api.batch(b'{"items":[' + b",".join([*items, good]) + b"]}")
    assert response.status_code == 200, items
    results = response.json()["results"]
    assert len(results) == len(items) + 1
    assert results[-1]["status"] in ("accepted", "duplicate"), items
    codes = {result["error_code"] for result in results if result["status"] == "error"}
    assert not codes & NO_FAULT, items
