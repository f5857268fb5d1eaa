"""Identifiers of ours: what they are computed from and how they look on the wire.

Ids are 16 raw bytes everywhere in the service (`uuid` in Postgres). Never joins parts with a
separator: ("a-b", "c") and ("a", "b-c") must differ.
"""

from __future__ import annotations

import os
import re
import struct
from functools import lru_cache
from hashlib import blake2b

ID_BYTES = 16
EVENT_PREFIX = "evt_"
PROFILE_PREFIX = "prf_"
QUARANTINE_PREFIX = "qrn_"
REPLAY_PREFIX = "rpl_"
IMPACT_PREFIX = "imp_"

_DIGITS = re.compile("[0-9a-f]{32}")

_LENGTHS = struct.Struct("<II")


@lru_cache(maxsize=4096)
def _hasher(hash_key: bytes, person: bytes) -> blake2b:
    """Keyed and ready to be copied: half the cost of keying it anew (measured)."""
    return blake2b(digest_size=ID_BYTES, key=hash_key, person=person)


def event_key(hash_key: bytes, source: str, external_event_id: str) -> bytes:
    """The event's id, which is also its deduplication key.

    hash_key  the tenant's own 32-byte key, so the tenant is part of the result.
    """
    first, second = source.encode(), external_event_id.encode()
    hasher = _hasher(hash_key, b"cdp-event").copy()
    hasher.update(_LENGTHS.pack(len(first), len(second)) + first + second)
    return hasher.digest()


def identifier_key(hash_key: bytes, kind: int, value: str) -> bytes:
    """The key of one normalised identifier of one tenant."""
    hasher = _hasher(hash_key, b"cdp-identifier").copy()
    hasher.update(b"%d:%b" % (kind, value.encode()))
    return hasher.digest()


def bucket_of(key: bytes) -> int:
    """The top 12 bits of an id: first column of every event-side primary key (0..4095)."""
    return key[0] << 4 | key[1] >> 4


def new_id() -> bytes:
    """A new random id whose first 48 bits do not grow with time, so buckets fill evenly."""
    return os.urandom(ID_BYTES)


def encode(prefix: str, key: bytes) -> str:
    """`evt_74d63a…`: the prefix and 32 hexadecimal digits."""
    return prefix + key.hex()


def decode(prefix: str, text: str) -> bytes | None:
    """The 16 bytes behind an id on the wire, or None when it is not one of ours."""
    digits = text.removeprefix(prefix)
    if digits == text or not _DIGITS.fullmatch(digits):
        return None
    return bytes.fromhex(digits)
