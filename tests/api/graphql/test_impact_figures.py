"""The figures of an impact run are those of a real replay."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from tests.api.graphql.impact import DRAFT, assert_same, finish, publish, replay
from tests.api.graphql.support import GraphQL
from tests.support import Api, eventually, purchase


@pytest.fixture
def gql(api: Api) -> GraphQL:
    return GraphQL(api)


def bought(number: int, source: str = "brand.pos", **properties: Any) -> dict[str, Any]:
    """A purchase of one source with other properties; None leaves one out."""
    event = purchase(f"order-{number}", source=source)
    event["properties"] = {
        name: value
        for name, value in (event["properties"] | properties).items()
        if value is not None
    }
    return event


def items(*skus: str) -> list[dict[str, Any]]:
    return [{"sku": sku, "quantity": 1, "unit_price": 2} for sku in skus]


async def deliver_a_bit_of_everything(api: Api) -> None:
    """Events that pass, would fail, fail and would pass, for one reason and for several."""
    limited = await api.new_key(sources=["brand.web"])
    nobody = {"email": "nobody"}
    await api.results(
        [
            *(bought(n) for n in range(15)),
            *(bought(n, "brand.web", store_id=None) for n in range(100, 112)),
            bought(200, amount=5000),
            bought(201, amount=5000, currency="GBP", store_id=None),
            bought(202, line_items=items("short", "much too long", "far too long")),
            bought(203, line_items=items("much too long"), channel="web"),
            bought(300, tip=2),
            bought(301, tip=2, amount=5000),
            bought(302, tip=-2),
            bought(303, tip=2, amount=None),
            bought(304, "brand.app", tip=2.5),
            bought(305, tip=2) | {"identity": nobody},
            bought(306, tip=2) | {"occurredAt": "1999-01-01T00:00:00Z"},
            bought(307, line_items=[{"sku": "a"}]),
            bought(308, line_items=[{"sku": "a"}, {"sku": "b", "quantity": 1}], tip=1),
            bought(309, tip=2) | {"eventType": "purchase_refunded"},
            bought(310, tip=2) | {"colour": "red"},
        ]
    )
    await api.batch([bought(400, tip=3), bought(401, "brand.web", tip=3)], key=limited)
    await api.post(b'{"eventType": "purchase_completed", "tip": ')
    await api.post(bought(500, tip=1))
    await api.fetch(
        "update quarantine set resolution = 4, resolved_at = now()"
        " where external_event_id = 'order-500'"
    )


async def publish_now(api: Api, document: dict[str, Any], **more: Any) -> None:
    connection = await asyncpg.connect(api.database_url)
    await publish(connection, "purchase_completed", document, **more)
    await connection.close()


async def test_the_figures_are_those_of_a_real_replay(api: Api, gql: GraphQL) -> None:
    await deliver_a_bit_of_everything(api)
    impact = await finish(gql)
    assert_same(impact, await replay(api, "purchase_completed", DRAFT))
    assert impact["events"] == {"scanned": 31, "newlyFailing": 16, "newlyPassing": 0}
    assert impact["quarantined"] == {"scanned": 12, "newlyFailing": 0, "newlyPassing": 5}
    assert impact["scanned"] == impact["total"] == 43
    assert impact["bySource"][0] == {"name": "brand.web", "newlyFailing": 12, "newlyPassing": 1}


@pytest.mark.parametrize(
    "document",
    [
        DRAFT | {"x-unknown-properties": "allow"},
        DRAFT | {"x-unknown-properties": "strip", "required": []},
        {"type": "object", "required": ["tip"], "properties": {"tip": {"enum": [2, True, "x"]}}},
        {"type": "object", "x-unknown-properties": "allow"},
    ],
    ids=["allows unknown", "strips unknown", "needs what nobody may send", "allows everything"],
)
async def test_so_they_are_for_documents_of_every_kind(
    api: Api, gql: GraphQL, document: dict[str, Any]
) -> None:
    await deliver_a_bit_of_everything(api)
    impact = await finish(gql, document=document)
    assert impact["findings"] != []
    assert_same(impact, await replay(api, "purchase_completed", document))


async def test_a_type_that_is_not_registered_yet_would_take_what_it_was_refused(
    api: Api, gql: GraphQL
) -> None:
    gift = {"eventType": "gift_sent"}
    await api.results([bought(n) | gift for n in range(12)] + [bought(12, tip=True) | gift])
    impact = await finish(gql, eventType="gift_sent")
    assert_same(impact, await replay(api, "gift_sent", DRAFT))
    (finding,) = impact["findings"]
    assert len(finding.pop("quarantineIds")) == 10
    assert finding == {
        "change": "NEWLY_PASSING",
        "rule": "event_type_unregistered",
        "path": "/eventType",
        "items": 12,
        "eventIds": [],
    }


async def test_a_version_in_grace_keeps_it_and_the_current_one_gets_none(
    api: Api, gql: GraphQL
) -> None:
    narrow, narrower = deepcopy(DRAFT), deepcopy(DRAFT)
    narrow["required"] += ["tip"]
    narrower["properties"] = {"order_id": {"type": "string"}}
    narrower["required"] = ["order_id"]
    await deliver_a_bit_of_everything(api)
    await publish_now(api, narrow, grace=timedelta(days=1))
    impact = await finish(gql, document=narrower)
    assert_same(impact, await replay(api, "purchase_completed", narrower))
    assert impact["events"] == {"scanned": 31, "newlyFailing": 0, "newlyPassing": 0}
    assert impact["quarantined"]["newlyFailing"] == 4


async def test_events_that_lost_properties_are_judged_without_them_and_counted(
    api: Api, gql: GraphQL
) -> None:
    await publish_now(api, DRAFT | {"x-unknown-properties": "strip"})

    async def strips() -> bool:
        return "property_stripped" in (await api.post(bought(1, colour="red"))).text

    await eventually(strips)
    await api.results([bought(2), bought(3, colour="blue"), bought(4, tip=1)])
    impact = await finish(gql)
    assert_same(impact, await replay(api, "purchase_completed", DRAFT))
    assert impact["events"] == {"scanned": 4, "newlyFailing": 0, "newlyPassing": 0}
    assert impact["strippedEvents"] == 2


async def test_only_the_last_days_and_the_newest_so_many_are_looked_at(
    api: Api, gql: GraphQL
) -> None:
    now = datetime.now(UTC)
    await api.results(
        [
            bought(n, amount=5000) | {"occurredAt": (now - timedelta(hours=20 * n)).isoformat()}
            for n in range(6)
        ]
        + [bought(n, "brand.web", tip=1) for n in range(10, 14)]
    )
    by_days = await finish(gql, lastDays=3)
    assert (by_days["events"]["newlyFailing"], by_days["quarantined"]["newlyPassing"]) == (4, 4)
    by_number = await finish(gql, maxEvents=2)
    assert (by_number["events"]["scanned"], by_number["quarantined"]["scanned"]) == (2, 2)
    (sample,) = [f["eventIds"] for f in by_number["findings"] if f["eventIds"]]
    newest = await api.fetch("select event_key from event order by occurred_at desc limit 2")
    assert sample == [f"evt_{row['event_key'].hex}" for row in newest]


async def test_nothing_that_was_sent_is_kept_in_a_run(api: Api, gql: GraphQL) -> None:
    await deliver_a_bit_of_everything(api)
    await finish(gql)
    (row,) = await api.fetch("select r::text as text from impact_run r")
    for value in ("customer@", "L-123456789", "order_42", "much too long", "GBP", "5000", '"red"'):
        assert value not in row["text"]
