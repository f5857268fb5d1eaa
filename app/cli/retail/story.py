"""One customer whom every history has, whatever its size and seed: a guide can ask for her.

She takes a card at a till, gives a mail address, and buys again with another phone number and
without the card: somebody else, until a form names both. Nothing goes wrong with her deliveries.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from app.cli.retail.cast import Cast, Person, Shop
from app.cli.retail.telling import Teller, Told

LOYALTY_ID = "L-999999990"
"""None of the cast's goes so far."""
EMAIL = "alma.linden@example.com"
"""Those of the cast have a number."""
PHONES = ("+12005550142", "+12005550187")
"""Nobody of the cast has their area code."""

_HALF_AN_HOUR = 1_800

_Chapter = Callable[[float], Told]


class Story:
    """What she does, and when."""

    def __init__(self, cast: Cast, tell: Teller) -> None:
        self._tell = tell
        self._shops = cast.shops[0], cast.shops[3]
        self._person = Person(
            number=cast.population,
            loyalty_id=LOYALTY_ID,
            email=EMAIL,
            phone=PHONES[0][2:],
            devices=(),
            first_name="Alma",
            last_name="Linden",
            shop=0,
        )
        self._to_come: deque[tuple[float, _Chapter]] = deque(
            (
                (0.15, self._take_a_card),
                (0.30, self._subscribe),
                (0.60, self._buy_without_the_card),
                (0.80, self._fill_in_the_form),
            )
        )

    def next(self, at: float, progress: float) -> list[Told]:
        """What she does from that second on, mostly nothing.

        progress  0..1, how far the history has got
        """
        if not self._to_come or progress < self._to_come[0][0]:
            return []
        _, chapter = self._to_come.popleft()
        return [chapter(at)]

    def _take_a_card(self, at: float) -> Told:
        identity = {"externalUserId": LOYALTY_ID, "phone": PHONES[0]}
        return self._buy(at, identity, self._shops[0])

    def _subscribe(self, at: float) -> Told:
        return self._tell.newsletter(at, EMAIL, {"externalUserId": LOYALTY_ID, "email": EMAIL})

    def _buy_without_the_card(self, at: float) -> Told:
        return self._buy(at, {"phone": PHONES[1]}, self._shops[1])

    def _fill_in_the_form(self, at: float) -> Told:
        identity = {"externalUserId": LOYALTY_ID, "phone": PHONES[1]}
        return self._tell.profile_updated(at, self._person, identity)

    def _buy(self, at: float, identity: dict[str, str], shop: Shop) -> Told:
        while not shop.is_open(at):
            at += _HALF_AN_HOUR
        purchase, _ = self._tell.purchase(at, identity, shop, shop.source(1))
        return purchase
