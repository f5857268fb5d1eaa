"""Writes the events of a demo history, each type's properties as the registry asks for them.

Never decides who does what, nor when (`journeys` does).
"""

from __future__ import annotations

from datetime import UTC, datetime, timezone
from random import Random
from typing import Any, NamedTuple

from app.cli.retail.cast import Cast, Person, Product, Shop

Event = dict[str, Any]
Identity = dict[str, str]

CURRENCY = "USD"
UNREGISTERED_TYPE = "wishlist_shared"
"""Of a new release of the app; known to nobody's registry."""
RECEIPT_REUSED = 0.027
"""Share of receipts that a till numbers like the one before."""
_CAMPAIGN_ID = "3f1c9a52-7b64-4c0e-9d1f-5a2b8c7d6e10"
_APP_VERSIONS = ("5.11.2", "5.12.0", "5.12.1", "6.0")
_TIERS = ("basic", "basic", "silver", "gold", "platinum")
_INTERESTS = ("women", "men", "kids", "sports", "home", "beauty", "outlet", "garden")
_TICKET_TOPICS = ("delivery", "return", "payment", "product", "account")
_REFUND_REASONS = ("damaged", "wrong_item", "not_as_described", "changed_mind", "other")
_CHECKOUT_STEPS = ("cart", "cart", "address", "shipping", "payment")


class Told(NamedTuple):
    """An event and when it leaves its system, in seconds since the epoch."""

    at: float
    event: Event


class Order(NamedTuple):
    order_id: str
    cents: int
    skus: list[str]
    source: str
    identity: Identity


class Teller:
    """Writes events; one method a type. Numbers them, and the receipts of every till."""

    def __init__(self, cast: Cast, random: Random, tag: str) -> None:
        """tag  goes into every key, so that no other history has the same ones"""
        self._cast = cast
        self._random = random.random
        self._bits = random.getrandbits
        self._tag = tag
        self._numbered = 0
        self._receipts: dict[tuple[str, int], int] = {}

    def purchase(
        self, at: float, identity: Identity, shop: Shop | None, source: str
    ) -> tuple[Told, Order]:
        products = [self._a_product() for _ in range(1 + int(5 * self._random() ** 2))]
        quantities = [1 if self._random() < 0.85 else 2 for _ in products]
        cents = sum(p.price_cents * n for p, n in zip(products, quantities, strict=True))
        properties: dict[str, Any] = {"order_id": "", "amount": 0, "currency": CURRENCY}
        zone: timezone | None = None
        if shop is not None:
            source, key = self._receipt(shop)
            zone = shop.zone
            properties["store_id"] = shop.store_id
        else:
            key = self._key("order")
        if shop is None or shop.new_tills:
            channel = "store" if shop else "app" if source == "brand.app" else "web"
            methods = ("card", "card", "wallet", "gift_card", "cash" if shop else "invoice")
            discount = cents // 10 if self._random() < 0.12 else 0
            cents -= discount
            properties |= {
                "channel": channel,
                "payment_method": methods[int(self._random() * len(methods))],
                "discount": discount / 100,
                "line_items": [
                    {
                        "sku": product.sku,
                        "name": product.name,
                        "quantity": quantity,
                        "unit_price": product.price_cents / 100,
                        "category": product.category,
                    }
                    for product, quantity in zip(products, quantities, strict=True)
                ],
            }
        properties["order_id"], properties["amount"] = key, cents / 100
        event = self._event(source, "purchase_completed", at, identity, properties, key, zone)
        return event, Order(key, cents, [p.sku for p in products], source, identity)

    def refund(self, at: float, order: Order, shop: Shop) -> Told:
        full = order.cents < 100 or self._random() < 0.6
        key = self._key("refund")
        properties = {
            "refund_id": key,
            "order_id": order.order_id,
            "amount": max(1, order.cents if full else order.cents // 2) / 100,
            "currency": CURRENCY,
            "reason": _REFUND_REASONS[self._bits(8) % 5],
            "is_full_refund": full,
            "refunded_items": [{"sku": sku, "quantity": 1} for sku in order.skus],
        }
        return self._event(
            order.source, "purchase_refunded", at, order.identity, properties, key, shop.zone
        )

    def product_viewed(self, at: float, identity: Identity, source: str) -> Told:
        product = self._a_product()
        properties = {
            "product_id": product.sku,
            "category": product.category,
            "price": product.price_cents / 100,
            "currency": CURRENCY,
            "in_stock": self._random() < 0.93,
        }
        if self._random() < 0.04:
            properties["utm_campaign"] = "newsletter"
        return self._event(source, "product_viewed", at, identity, properties)

    def cart_abandoned(self, at: float, identity: Identity) -> Told:
        product, quantity = self._a_product(), 1 + int(self._random() * 2)
        price = product.price_cents / 100
        properties = {
            "cart_id": self._uuid(),
            "abandoned_at": moment(at),
            "checkout_step": _CHECKOUT_STEPS[self._bits(8) % 5],
            "cart": {
                "total": product.price_cents * quantity / 100,
                "currency": CURRENCY,
                "line_items": [{"sku": product.sku, "quantity": quantity, "unit_price": price}],
            },
        }
        return self._event("brand.shop", "cart_abandoned", at + 1_200, identity, properties)

    def app_opened(self, at: float, identity: Identity) -> Told:
        is_ios = identity["deviceKey"].startswith("ios")
        properties = {
            "platform": "ios" if is_ios else "android",
            "app_version": _APP_VERSIONS[self._bits(2)],
            "push_enabled": self._random() < 0.6,
            "opened_from": ("icon", "icon", "push", "widget")[self._bits(2)],
            "cold_start_ms": 300 + self._bits(10),
        }
        return self._event("brand.app", "app_opened", at, identity, properties)

    def wishlist_shared(self, at: float, identity: Identity) -> Told:
        products = [self._a_product() for _ in range(1 + int(4 * self._random()))]
        properties = {
            "wishlist_id": self._uuid(),
            "shared_by": ("link", "message", "message", "mail")[self._bits(2)],
            "total": sum(product.price_cents for product in products) / 100,
            "currency": CURRENCY,
            "items": [{"sku": p.sku, "price": p.price_cents / 100} for p in products],
        }
        return self._event("brand.app", UNREGISTERED_TYPE, at, identity, properties)

    def store_visited(self, at: float, person: Person, shop: Shop) -> Told:
        identity = {"externalUserId": person.loyalty_id} if person.loyalty_id else {}
        if not identity:
            identity = {"deviceKey": f"beacon-{self._bits(40):010x}"}
        properties = {
            "store_id": shop.store_id,
            "recognised_by": "loyalty_card" if person.loyalty_id else "beacon",
            "stay": f"PT{5 + self._bits(5)}M",
            "location": {"latitude": shop.latitude, "longitude": shop.longitude},
        }
        return self._event("brand.app", "store_visited", at, identity, properties, zone=shop.zone)

    def coupon_redeemed(self, at: float, identity: Identity, order: Order, source: str) -> Told:
        properties = {
            "code": f"SAVE10-{self._bits(20):05X}",
            "campaign_id": _CAMPAIGN_ID,
            "discount_kind": "percent",
            "percent": 10,
            "order_id": order.order_id,
        }
        return self._event(source, "coupon_redeemed", at, identity, properties)

    def points_earned(
        self, at: float, identity: Identity, points: int, reason: str, order_id: str | None
    ) -> Told:
        properties = {
            "transaction_id": self._uuid(),
            "points": points,
            "balance_after": points + self._bits(11),
            "reason": reason,
            "tier": _TIERS[self._bits(8) % len(_TIERS)],
        }
        if order_id is not None:
            properties["order_id"] = order_id
        return self._event("brand.crm", "loyalty_points_earned", at, identity, properties)

    def points_redeemed(self, at: float, identity: Identity) -> Told:
        points = 50 * (1 + self._bits(4))
        properties = {
            "transaction_id": self._uuid(),
            "points": points,
            "balance_after": self._bits(10),
            "reward": {"kind": "bill_credit", "value": points / 100, "currency": CURRENCY},
        }
        return self._event("brand.crm", "loyalty_points_redeemed", at, identity, properties)

    def newsletter(self, at: float, email: str, identity: Identity) -> Told:
        properties = {
            "newsletter": ("weekly", "weekly", "sale", "loyalty")[self._bits(2)],
            "email": email,
            "confirmed_at": moment(at),
            "consent_version": "2026-03",
            "ip_address": None,
        }
        return self._event("brand.crm", "newsletter_subscribed", at, identity, properties)

    def profile_updated(self, at: float, person: Person, identity: Identity) -> Told:
        first = self._bits(8) % len(_INTERESTS)
        properties = {
            "first_name": person.first_name,
            "last_name": person.last_name,
            "home_store_id": self._cast.shops[person.shop].store_id,
            "interests": sorted({_INTERESTS[first], _INTERESTS[first // 2]}),
        }
        return self._event("brand.crm", "profile_updated", at, identity, properties)

    def support_ticket(self, at: float, identity: Identity) -> Told:
        key = self._key("ticket")
        properties = {
            "ticket_id": key,
            "topic": _TICKET_TOPICS[self._bits(8) % 5],
            "channel": ("email", "phone", "chat", "store")[self._bits(2)],
            "priority": 1 + self._bits(8) % 5,
        }
        return self._event("brand.crm", "support_ticket_opened", at, identity, properties, key)

    # ── keys and envelopes ────────────────────────────────────────────────────────────────────

    def _event(
        self,
        source: str,
        event_type: str,
        at: float,
        identity: Identity,
        properties: dict[str, Any],
        key: str | None = None,
        zone: timezone | None = None,
    ) -> Told:
        return Told(
            at + 1,
            {
                "source": source,
                "externalEventId": key or self._key(source[6:]),
                "eventType": event_type,
                "occurredAt": moment(at, zone),
                "identity": identity,
                "properties": properties,
            },
        )

    def _key(self, prefix: str) -> str:
        self._numbered += 1
        return f"{prefix}-{self._tag}-{self._numbered:07d}"

    def _receipt(self, shop: Shop) -> tuple[str, str]:
        """Source and key of a till's next receipt; some tills number two receipts alike."""
        till = 1 + int(self._random() * shop.tills)
        number = self._receipts.get((shop.store_id, till), 0)
        if not number or self._random() >= RECEIPT_REUSED:
            number += 1
            self._receipts[shop.store_id, till] = number
        return shop.source(till), f"{shop.store_id}-{till}-{self._tag}-{number:06d}"

    def _a_product(self) -> Product:
        """Few products make most of the turnover."""
        products = self._cast.products
        return products[int(len(products) * self._random() ** 2)]

    def _uuid(self) -> str:
        digits = f"{self._bits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


def moment(seconds: float, zone: timezone | None = None) -> str:
    """ISO 8601 to the second; in UTC with Z."""
    if zone is not None:
        return datetime.fromtimestamp(int(seconds), zone).isoformat()
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()[:19] + "Z"
