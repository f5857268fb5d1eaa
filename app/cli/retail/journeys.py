"""What customers of a demo chain do: a visit to a shop, an evening in the web shop, a form sent.

Never decides when a journey starts, nor what becomes of an event on its way (`history` does).
"""

from __future__ import annotations

from collections import deque
from random import Random

from app.cli.retail.cast import Cast, Person, Shop
from app.cli.retail.telling import Identity, Order, Teller, Told

SPELT_BADLY = 0.08
"""Share of emails in capitals, with spaces around, or broken."""
PLACEHOLDERS = ("anonymous", "n/a", "00000000-0000-0000-0000-000000000000", "guest")
"""What systems send that do not know the person."""
_ORDERS_REMEMBERED = 256


class Journeys:
    """The customers of one history. Memory does not grow with the number of events."""

    def __init__(self, cast: Cast, random: Random, tell: Teller) -> None:
        self._cast = cast
        self._random = random.random
        self._bits = random.getrandbits
        self._tell = tell
        self._orders: deque[Order] = deque(maxlen=_ORDERS_REMEMBERED)

    def next(self, at: float, progress: float) -> list[Told]:
        """What one customer does from that second on, 40 minutes at most.

        progress  0..1, how far the history has got: the chain wins customers as time goes by
        """
        active = self._cast.population * (0.6 + 0.4 * progress)
        person = self._cast.person(int(active * self._random() ** 2))
        kind = self._random()
        if kind < 0.60:
            shop = self._shop(person)
            if shop.is_open(at):
                return self._visit_a_shop(at, person, shop)
        if kind < 0.84:
            return self._browse(at, person)
        if kind < 0.94:
            return self._use_the_app(at, person)
        return [self._write_to_the_chain(at, person)]

    # ── where they go ─────────────────────────────────────────────────────────────────────────

    def _visit_a_shop(self, at: float, person: Person, shop: Shop) -> list[Told]:
        chance = self._random()
        if chance < 0.06 and self._orders:
            self._orders.rotate(int(self._random() * len(self._orders)))
            return [self._tell.refund(at, self._orders.pop(), shop)]
        told = []
        if chance < 0.16:
            told.append(self._tell.store_visited(at, person, shop))
            at += 300 + 900 * self._random()
        elif chance < 0.26:
            tablet = {"deviceKey": f"tablet-{shop.store_id}-{'ab'[int(self._random() * 2)]}"}
            for _ in range(1 + int(self._random() * 3)):
                told.append(self._tell.product_viewed(at, tablet, "brand.app"))
                at += 20 + 90 * self._random()
            if self._random() < 0.5 and person.email:
                identity = tablet | {"email": self._spelt_email(person.email, alone=False)}
                return [*told, self._tell.newsletter(at, person.email, identity)]
        return told + self._buy(at, person, self._till_identity(person, shop), shop)

    def _browse(self, at: float, person: Person) -> list[Told]:
        """Anonymous until a login links browser, email and loyalty id."""
        device = next((key for key in person.devices if key.startswith("web")), None)
        anonymous = {"deviceKey": device or f"web-{self._bits(60):015x}"}
        if self._random() < 0.03:
            anonymous["externalUserId"] = PLACEHOLDERS[int(self._random() * len(PLACEHOLDERS))]
        told = []
        for _ in range(1 + int(3 * self._random() ** 2)):
            told.append(self._tell.product_viewed(at, anonymous, "brand.shop"))
            at += 15 + 200 * self._random()
        if person.email is None:
            return told
        known = {"email": self._spelt_email(person.email, alone=False), **anonymous}
        if person.loyalty_id and self._random() < 0.6:
            known["externalUserId"] = person.loyalty_id
        ending = self._random()
        if ending < 0.22:
            told += self._buy(at, person, known, None)
        elif ending < 0.38:
            told.append(self._tell.cart_abandoned(at, known if ending < 0.30 else anonymous))
        elif ending < 0.48:
            told.append(self._tell.product_viewed(at, known, "brand.shop"))
        return told

    def _use_the_app(self, at: float, person: Person) -> list[Told]:
        device = next((key for key in person.devices if not key.startswith("web")), None)
        identity = {"deviceKey": device or f"android-{self._bits(60):015x}"}
        if person.loyalty_id:
            identity["externalUserId"] = person.loyalty_id
        told = [self._tell.app_opened(at, identity)]
        chance = self._random()
        for _ in range(int(3 * self._random())):
            at += 20 + 60 * self._random()
            told.append(self._tell.product_viewed(at, identity, "brand.app"))
        if chance < 0.12 and person.loyalty_id:
            told.append(self._tell.points_redeemed(at + 40, identity))
        elif chance < 0.30:
            told += self._buy(at + 60, person, identity, None, source="brand.app")
        elif chance < 0.36:
            told.append(self._tell.wishlist_shared(at + 30, identity))
        return told

    def _write_to_the_chain(self, at: float, person: Person) -> Told:
        identity: Identity = {}
        if person.loyalty_id:
            identity["externalUserId"] = person.loyalty_id
        if person.phone and self._random() < 0.6:
            identity["phone"] = self._spelt_phone(person.phone, alone=not identity)
        if person.email:
            identity["email"] = self._spelt_email(person.email, alone=not identity)
        if not identity:
            return self._tell.product_viewed(
                at, {"deviceKey": f"web-{self._bits(60):015x}"}, "brand.shop"
            )
        chance = self._random()
        if chance < 0.3:
            return self._tell.support_ticket(at, identity)
        if chance < 0.5 and person.email:
            return self._tell.newsletter(at, person.email, identity)
        if chance < 0.65 and person.loyalty_id:
            reason = ("welcome", "birthday", "referral", "review")[int(self._random() * 4)]
            return self._tell.points_earned(at, identity, 100, reason, None)
        return self._tell.profile_updated(at, person, identity)

    def _buy(
        self,
        at: float,
        person: Person,
        identity: Identity,
        shop: Shop | None,
        source: str = "brand.shop",
    ) -> list[Told]:
        """A purchase and what it sets off."""
        purchase, order = self._tell.purchase(at, identity, shop, source)
        self._orders.append(order)
        told = [purchase]
        if self._random() < 0.07:
            told.append(
                self._tell.coupon_redeemed(at + 2, identity, order, purchase.event["source"])
            )
        if identity.get("externalUserId") == person.loyalty_id is not None and order.cents >= 100:
            account = {"externalUserId": person.loyalty_id}
            points, later = order.cents // 100, at + 60 + 540 * self._random()
            told.append(
                self._tell.points_earned(later, account, points, "purchase", order.order_id)
            )
        return told

    def _shop(self, person: Person) -> Shop:
        """Mostly their own; else any, the first ones being the large ones."""
        shops = self._cast.shops
        if self._random() < 0.5:
            return shops[person.shop]
        return shops[int(len(shops) * self._random() ** 2)]

    def _till_identity(self, person: Person, shop: Shop) -> Identity:
        """What a till learns: a card, an address for the receipt, else only where it stands."""
        identity: Identity = {}
        if person.loyalty_id and self._random() < 0.85:
            identity["externalUserId"] = person.loyalty_id
        if person.email and self._random() < 0.35:
            identity["email"] = self._spelt_email(person.email, alone=not identity)
        if person.phone and (not identity or self._random() < 0.2):
            identity["phone"] = self._spelt_phone(person.phone, alone=not identity)
        return identity or {"deviceKey": f"tablet-{shop.store_id}-a"}

    def _spelt_email(self, email: str, *, alone: bool) -> str:
        """As somebody typed it. Broken only where another identifier is there."""
        chance = self._random()
        if chance >= SPELT_BADLY:
            return email
        if chance < 0.04:
            return email.upper()
        if chance < 0.065 or alone:
            return f" {email} "
        return email.replace("@", "" if chance < 0.073 else "@@")

    def _spelt_phone(self, phone: str, *, alone: bool) -> str:
        """As somebody typed it. The national form only where another identifier is there."""
        area, exchange, line = phone[:3], phone[3:6], phone[6:]
        chance = self._random()
        if chance < 0.55:
            return f"+1{phone}"
        if chance < 0.70 or alone:
            return f"+1 ({area}) {exchange}-{line}"
        if chance < 0.85:
            return f"({area}) {exchange}-{line}"
        if chance < 0.97:
            return f" {area}.{exchange}.{line}"
        return f"{exchange}-{line}"
