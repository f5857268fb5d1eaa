"""What the service under load knows of event types."""

from __future__ import annotations

import json
import shutil
from collections.abc import Container
from pathlib import Path

from app.cli.starter import registry_folder

MANY_TYPES = 1_000


def write_many_types(folder: Path) -> Path:
    """A registry of 1,000 event types with 50 properties each."""
    kinds = ["string", "number", "integer", "boolean"]
    for number in range(MANY_TYPES):
        type_folder = folder / f"bench_type_{number}"
        type_folder.mkdir(parents=True)
        document = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "x-owner": "bench",
            "properties": {
                f"prop_{i}": {"type": kinds[i % 4], "description": "A property."} for i in range(50)
            },
            "required": ["prop_0", "prop_1"],
        }
        (type_folder / "1.json").write_text(json.dumps(document))
    return folder


def write_product_registry(folder: Path, segmentable: Container[str]) -> Path:
    """The product's own registry; of it only these properties of purchases are segmentable."""
    shutil.copytree(registry_folder(), folder)
    for file in folder.glob("*/*.json"):
        document = json.loads(file.read_text())
        for name, schema in document["properties"].items():
            schema.pop("x-segmentable", None)
            if file.parent.name == "purchase_completed" and name in segmentable:
                schema["x-segmentable"] = True
        file.write_text(json.dumps(document))
    return folder
