"""Who changed what: the trail that every change of keys, sources and registry leaves.

Written in the transaction of the change itself. Never updated, never deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from app import clock
from app.db.tables import RegistryChange

CLI = "cli"
"""The actor of what is done on the command line, by whoever may use the machine."""


async def record_change(
    tenant_id: int,
    *,
    actor: str,
    action: str,
    subject: str,
    reason: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """One line of the trail; call it inside of `transaction()`.

    actor          the public id of the API key, or CLI
    action         what was done, in the past tense: "version_published", "key_revoked"
    subject        to what: "purchase_completed/2", "key till-17"
    before, after  JSON; never a secret
    """
    await RegistryChange(
        tenant_id=tenant_id,
        changed_at=clock.now(),
        actor=actor,
        action=action,
        subject=subject,
        reason=reason,
        before=_json(before),
        after=_json(after),
    ).save()


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
