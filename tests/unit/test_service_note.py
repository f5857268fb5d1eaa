"""How commands find a service that runs: by a note beside its data, one for each database."""

from __future__ import annotations

import json
from pathlib import Path

from app.cli.runtime import announced
from app.settings import Settings

OURS, THEIRS = "http://127.0.0.1:1", "http://127.0.0.1:2"


def urls_in(folder: Path) -> list[str]:
    return sorted(json.loads(note.read_text())["url"] for note in folder.glob("service*.json"))


def test_services_of_two_databases_leave_each_other_s_notes_alone(tmp_path: Path) -> None:
    ours = Settings(data_dir=str(tmp_path))
    theirs = Settings(data_dir=str(tmp_path), database_url="postgresql://elsewhere/cdp")
    with announced(ours, OURS):
        with announced(theirs, THEIRS):
            assert urls_in(tmp_path) == [OURS, THEIRS]
        assert urls_in(tmp_path) == [OURS]
    assert urls_in(tmp_path) == []


def test_the_note_of_a_later_service_stays(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))
    with announced(settings, THEIRS):
        with announced(settings, OURS):
            (note,) = tmp_path.glob("service*.json")
            later = note.read_text().replace(OURS, "http://127.0.0.1:3")
            note.write_text(later)
        assert urls_in(tmp_path) == ["http://127.0.0.1:3"]
