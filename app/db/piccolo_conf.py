"""Piccolo's engine and apps. Never opens a connection by itself: `db/pool.py` lends it the pool."""

from __future__ import annotations

from typing import Any

from piccolo.engine.postgres import PostgresEngine


class LazyEngine(PostgresEngine):
    """Piccolo's engine without the connection that its constructor opens to ask the version."""

    async def check_version(self) -> None:
        return None

    async def prep_database(self) -> None:
        return None


DB = LazyEngine(config={}, extensions=())


def __getattr__(name: str) -> Any:
    """APP_REGISTRY, for migrations alone: its module loads a code formatter, half a second."""
    if name != "APP_REGISTRY":
        raise AttributeError(name)
    from piccolo.conf.apps import AppRegistry

    return AppRegistry(apps=["app.db.piccolo_app"])
