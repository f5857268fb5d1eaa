"""Tells Piccolo which tables and which migrations are ours."""

from __future__ import annotations

from pathlib import Path

from piccolo.conf.apps import AppConfig, table_finder

import app

_BESIDE_APP = Path(app.__file__).parents[1] / "migrations"
_IN_WHEEL = Path(app.__file__).parent / "_migrations"

APP_CONFIG = AppConfig(
    app_name="cdp",
    migrations_folder_path=str(_BESIDE_APP if _BESIDE_APP.is_dir() else _IN_WHEEL),
    table_classes=table_finder(["app.db.tables"]),
)
