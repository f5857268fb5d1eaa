"""What an API key looks like and may do."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from app.access.directory import Directory
from app.access.keys import (
    NewKey,
    Principal,
    Scope,
    TenantSettings,
    generate_key,
    hash_secret,
    parse_key,
)

NOW = datetime(2026, 11, 23, tzinfo=UTC)
TENANT = TenantSettings(1, "demo", b"k" * 32, 30, None, 1_000)


def principal(key: NewKey, expires_at: datetime | None = None) -> Principal:
    return Principal(
        key_id=1,
        public_id=key.public_id,
        name="test",
        secret_hash=key.secret_hash,
        tenant=TENANT,
        scopes=frozenset({"events:write"}),
        sources=None,
        event_types=None,
        events_per_minute=None,
        expires_at=expires_at,
    )


def directory(key: NewKey, expires_at: datetime | None = None) -> Directory:
    held = Directory()
    held.replace_keys({key.public_id: principal(key, expires_at)})
    return held


@pytest.mark.contract("4.20: a key's text names its environment and id")
def test_a_key_names_its_environment_and_id_and_can_be_taken_apart() -> None:
    key = generate_key("live")
    assert re.fullmatch(r"cdp_live_[a-z2-7]{10}_[a-z2-7]{32}", key.text)
    assert parse_key(key.text.encode()) == (key.public_id, key.secret.encode())
    assert generate_key("live").text != key.text


@pytest.mark.parametrize(
    "text", ["", "cdp", "cdp_live_abc_def", "cdp_live_" + "a" * 43, "sk_live_" + "a" * 43]
)
def test_other_texts_are_no_keys(text: str) -> None:
    assert parse_key(text.encode()) is None


@pytest.mark.contract("4.20: keys are kept as a hash and revoked within a second")
def test_only_the_hash_is_kept() -> None:
    key = generate_key("live")
    assert key.secret_hash == hash_secret(key.secret.encode())
    assert key.secret.encode() not in key.secret_hash


def test_the_right_secret_is_known_and_no_other() -> None:
    key, other = generate_key("live"), generate_key("live")
    held = directory(key)
    assert held.authenticate(key.text.encode(), NOW) is not None
    wrong = f"cdp_live_{key.public_id}_{other.secret}"
    assert held.authenticate(wrong.encode(), NOW) is None
    assert held.authenticate(other.text.encode(), NOW) is None


def test_a_key_expires_while_it_is_held_in_memory() -> None:
    key = generate_key("live")
    held = directory(key, expires_at=NOW + timedelta(seconds=1))
    assert held.authenticate(key.text.encode(), NOW) is not None
    assert held.authenticate(key.text.encode(), NOW + timedelta(seconds=1)) is None


def test_a_revoked_key_is_gone_with_the_next_look() -> None:
    key = generate_key("live")
    held = directory(key)
    assert held.authenticate(key.text.encode(), NOW) is not None
    held.replace_keys({})
    assert held.authenticate(key.text.encode(), NOW) is None


@pytest.mark.contract("4.20: scopes")
def test_scopes_are_what_a_key_may_do_and_admin_is_all() -> None:
    key = generate_key("live")
    writer = principal(key)
    assert writer.may(Scope.EVENTS_WRITE)
    assert not writer.may(Scope.EVENTS_READ)
    admin = msgspec.structs.replace(writer, scopes=frozenset({"admin"}))
    assert all(admin.may(scope) for scope in Scope)
