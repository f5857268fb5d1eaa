"""Who takes part in a demo history: a chain's shops, its range of products, its customers.

Pure, and every one computed from a number: a million customers take no memory. All of them are
invented: addresses are below example.com, .org and .net (RFC 2606), phone numbers are among the
555-01xx that the North American plan keeps for fiction.
"""

from __future__ import annotations

from datetime import timedelta, timezone
from random import Random
from typing import NamedTuple

PHONE_REGION = "US"
"""Where the national spelling of the phone numbers comes from."""
SYSTEMS = ("brand.app", "brand.crm", "brand.shop")
"""Beside them, each till is a source."""

_MASK = (1 << 64) - 1
_LOYALTY_IDS = 899_999_963
"""Prime: numbers multiplied modulo it stay apart."""
_FICTIONAL_PHONES = 79_900
"""Area codes 201 to 999 with 100 numbers each; beyond it they are given out a second time."""
_MAX_SHOPS = 40

_FIRST_NAMES = (
    "alma", "anouk", "ben", "bruno", "carla", "cleo", "dario", "edda", "elio", "emil", "fenja",
    "finn", "greta", "hugo", "ida", "ilay", "jona", "juno", "kaya", "lars", "leni", "luca", "mara",
    "milo", "nele", "nico", "olga", "oskar", "pia", "quinn", "rosa", "ruben", "selma", "silas",
    "tilda", "tom", "uma", "vera", "wanda", "yara",
)  # fmt: skip
_LAST_NAMES = (
    "alder", "ashby", "barley", "birch", "brook", "cedar", "clay", "clover", "dale", "elm",
    "fern", "field", "flint", "frost", "glen", "hazel", "heath", "hill", "holm", "ivy", "juniper",
    "lake", "larch", "linden", "maple", "marsh", "meadow", "moss", "oak", "pine", "reed", "ridge",
    "rowan", "sage", "stone", "thorn", "vale", "willow", "wren", "yarrow",
)  # fmt: skip
_MAIL_HOSTS = ("example.com", "example.com", "mail.example.com", "example.org", "post.example.net")
_CATEGORIES = (
    "shoes/running", "shoes/casual", "women/coats", "women/knitwear", "men/shirts", "men/trousers",
    "kids/school", "sports/outdoor", "home/kitchen", "home/textiles", "beauty/care", "garden/tools",
)  # fmt: skip
_OPENING_HOURS = ((9, 20), (10, 21), (10, 22), (8, 20))
_SUNDAY_HOURS = ((12, 18), (11, 17), None)


class Shop(NamedTuple):
    """One shop; hours are local time of day."""

    store_id: str
    zone: timezone
    opens: int
    closes: int
    sunday: tuple[int, int] | None
    tills: int
    new_tills: bool
    """They send what version 2 of a purchase may have."""
    latitude: float
    longitude: float

    def source(self, till: int) -> str:
        return f"brand.pos.{self.store_id}_till_{till}"

    def is_open(self, seconds: float) -> bool:
        """seconds  since the epoch"""
        local = seconds + self.zone.utcoffset(None).total_seconds()
        hour, weekday = local % 86_400 / 3_600, (int(local // 86_400) + 3) % 7
        if weekday == 6:
            return self.sunday is not None and self.sunday[0] <= hour < self.sunday[1]
        return self.opens <= hour < self.closes


class Product(NamedTuple):
    sku: str
    name: str
    category: str
    price_cents: int


class Person(NamedTuple):
    """A customer as the world knows them; no event tells all of it."""

    number: int
    loyalty_id: str | None
    email: str | None
    phone: str | None
    """The ten digits of the national form."""
    devices: tuple[str, ...]
    first_name: str
    last_name: str
    shop: int
    """Where they go mostly."""


class Cast(NamedTuple):
    seed: int
    population: int
    shops: tuple[Shop, ...]
    products: tuple[Product, ...]

    def sources(self) -> list[str]:
        """Every source that may deliver."""
        tills = {shop.source(till) for shop in self.shops for till in range(1, shop.tills + 1)}
        return sorted({*SYSTEMS, *tills})

    def person(self, number: int) -> Person:
        """The customer of that number, always the same for a seed.

        One in six has the email of the one before, one in six the phone: households.
        """
        bits = scramble(self.seed, number)
        first, last = _FIRST_NAMES[bits % 40], _LAST_NAMES[(bits >> 8) % 40]
        return Person(
            number=number,
            loyalty_id=_loyalty_id(self.seed, number) if bits >> 16 & 7 < 6 else None,
            email=self._email(number - (number % 6 == 5)) if bits >> 20 & 15 < 12 else None,
            phone=_phone(self.seed, number - (number % 6 == 3)) if bits >> 24 & 15 < 9 else None,
            devices=_devices(bits),
            first_name=first.capitalize(),
            last_name=last.capitalize(),
            shop=(bits >> 32) % len(self.shops),
        )

    def _email(self, number: int) -> str:
        bits = scramble(self.seed, number)
        first, last = _FIRST_NAMES[bits % 40], _LAST_NAMES[(bits >> 8) % 40]
        return f"{first}.{last}{number}@{_MAIL_HOSTS[(bits >> 40) % len(_MAIL_HOSTS)]}"


def make_cast(seed: int, events: int) -> Cast:
    """As many people and shops as a history of that size needs to look alive."""
    random = Random(seed)  # noqa: S311
    products = tuple(_product(random, n) for n in range(480))
    shops = tuple(_shop(random, n) for n in range(min(_MAX_SHOPS, 6 + events // 2_500)))
    return Cast(seed, max(40, events // 9), shops, products)


def scramble(seed: int, number: int) -> int:
    """64 bits that look random and are always the same (SplitMix64)."""
    bits = (number * 0x9E3779B97F4A7C15 + seed * 0xD1B54A32D192ED03) & _MASK
    bits = ((bits ^ bits >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ bits >> 27) * 0x94D049BB133111EB) & _MASK
    return bits ^ bits >> 31


def _shop(random: Random, number: int) -> Shop:
    opens, closes = _OPENING_HOURS[int(random.random() * 4)]
    return Shop(
        store_id=f"store_{number + 1:02d}",
        zone=timezone(timedelta(hours=-5 if random.random() < 0.7 else -6)),
        opens=opens,
        closes=closes,
        sunday=_SUNDAY_HOURS[int(random.random() * 3)],
        tills=max(1, 8 // (number + 1)) + int(random.random() * 3),
        new_tills=random.random() < 0.6,
        latitude=round(32 + random.random() * 12, 4),
        longitude=round(-95 + random.random() * 20, 4),
    )


def _product(random: Random, number: int) -> Product:
    category = _CATEGORIES[number % len(_CATEGORIES)]
    whole = 4 + int(120 * random.random() ** 2)
    return Product(
        sku=f"{category[0].upper()}{number:04d}",
        name=f"{category.rpartition('/')[2].capitalize()} no. {number}",
        category=category,
        price_cents=whole * 100 + (99, 95, 50, 0)[int(random.random() * 4)],
    )


def _loyalty_id(seed: int, number: int) -> str:
    return f"L-{100_000_000 + (number * 48_271 + seed * 7_919) % _LOYALTY_IDS}"


def _phone(seed: int, number: int) -> str:
    """Ten digits; 37 has no divisor in common with 79,900."""
    index = (number * 37 + seed) % _FICTIONAL_PHONES
    return f"{201 + index // 100}55501{index % 100:02d}"


def _devices(bits: int) -> tuple[str, ...]:
    """A browser, a phone with the app, both, or neither."""
    kinds = (("web",), ("web", "ios"), ("android",), ("web", "android"), ("ios",), ())
    return tuple(f"{kind}-{bits >> 4:015x}" for kind in kinds[(bits >> 48) % len(kinds)])
