"""Files against the registry: nothing that was done over the API is undone without being told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.registry.files import FileVersion, RegistryFiles, checksum
from app.registry.governance.outcomes import same_holders
from app.registry.modes import promises_less
from app.registry.plan import Plan, plan_changes
from app.registry.queries import StoredType, StoredVersion
from app.registry.spec import MODES
from app.registry.type_settings import (
    SettingDifference,
    TypeSettings,
    compare_settings,
    completed,
    differing_settings,
    settings_of,
    with_settings,
)

TEXT, NUMBER = {"type": "string"}, {"type": "number"}


def document(value: Any = NUMBER, **said: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"value": value}} | said


def in_files(*documents: dict[str, Any]) -> RegistryFiles:
    versions = [
        FileVersion(number, said, checksum(said), Path(f"{number}.json"))
        for number, said in enumerate(documents, 1)
    ]
    return RegistryFiles({"gift": versions})


def stored(
    *documents: dict[str, Any],
    forced: frozenset[int] = frozenset(),
    status: str = "ACTIVE",
    settings: TypeSettings | None = None,
    base: TypeSettings | None = None,
) -> dict[str, StoredType]:
    """An event type as its newest document says, but for what is given."""
    versions = [
        StoredVersion(number, checksum(said), said, number in forced, "abc")
        for number, said in enumerate(documents, 1)
    ]
    said = settings_of(documents[-1])
    return {"gift": StoredType(1, status, settings or said, base or said, versions)}


def drifts(plan: Plan) -> list[tuple[int, str]]:
    return [(drift.version, drift.message) for drift in plan.drifts]


def test_what_both_say_is_no_change() -> None:
    plan = plan_changes(in_files(document()), stored(document()))
    assert (plan.unchanged, plan.new_versions, plan.drifts, plan.settings) == (1, [], [], [])


def test_a_version_published_over_the_api_is_drift_until_it_is_pulled() -> None:
    plan = plan_changes(in_files(document()), stored(document(), document(TEXT)))
    assert drifts(plan) == [(2, "published by abc, but not in the files: pull it")]


def test_a_version_of_the_same_number_with_other_content_is_drift() -> None:
    plan = plan_changes(in_files(document(TEXT)), stored(document()))
    assert drifts(plan) == [
        (
            1,
            "published by abc with other content: it is immutable; pull it, and give yours the"
            " next number",
        )
    ]


def test_a_new_version_of_a_retired_type_is_drift() -> None:
    plan = plan_changes(
        in_files(document(), document(description="x")), stored(document(), status="RETIRED")
    )
    assert drifts(plan) == [(2, "its event type is retired: restore it")]
    assert plan.not_active == {"gift": "RETIRED"}


def test_settings_are_compared_with_what_the_files_said_last() -> None:
    found = compare_settings(
        "gift",
        base=TypeSettings("a", "b", "c", "FULL"),
        registry=TypeSettings("a", "API", "API", "NONE"),
        files=TypeSettings("FILES", "b", "FILES", "NONE"),
    )
    assert found == [
        SettingDifference("gift", "owner", "a", "FILES", "apply"),
        SettingDifference("gift", "display_name", "API", "b", "keep"),
        SettingDifference("gift", "description", "API", "FILES", "conflict"),
    ]


def test_another_owner_in_a_published_file_is_a_setting_and_no_new_content() -> None:
    old = document(**{"x-owner": "till"})
    plan = plan_changes(in_files(document(**{"x-owner": "shop"})), stored(old))
    assert (plan.unchanged, plan.drifts) == (1, [])
    assert plan.setting_changes == [SettingDifference("gift", "owner", "till", "shop", "apply")]


def test_files_win_takes_conflicts_and_what_would_be_kept_from_the_files() -> None:
    held = stored(document(), settings=TypeSettings(owner="API", description="API"))
    files = in_files(document(description="FILES"))
    plan = plan_changes(files, held)
    assert [d.change for d in plan.settings] == ["keep", "conflict"]
    won = plan_changes(files, held, files_win=True)
    assert [(d.setting, d.files) for d in won.setting_changes] == [
        ("owner", None),
        ("description", "FILES"),
    ]


@pytest.mark.parametrize(
    ("in_registry", "in_file", "base", "is_broken"),
    [
        ("BACKWARD_TRANSITIVE", "BACKWARD_TRANSITIVE", "BACKWARD_TRANSITIVE", True),
        ("NONE", "BACKWARD_TRANSITIVE", "BACKWARD_TRANSITIVE", False),
        ("FULL", "BACKWARD_TRANSITIVE", "BACKWARD_TRANSITIVE", True),
        ("NONE", "NONE", "NONE", False),
    ],
)
def test_a_new_version_is_held_against_the_mode_that_will_be_in_force(
    in_registry: str, in_file: str, base: str, is_broken: bool
) -> None:
    held = stored(
        document(),
        settings=TypeSettings(compatibility=in_registry),
        base=TypeSettings(compatibility=base),
    )
    new = document(TEXT, **{"x-compatibility": in_file})
    plan = plan_changes(in_files(document(), new), held)
    assert bool(plan.incompatible) is is_broken


def test_a_version_that_lowers_the_mode_is_incompatible_itself_and_what_follows_is_not() -> None:
    lower = document(TEXT, **{"x-compatibility": "NONE"})
    plan = plan_changes(in_files(document(), lower, lower | {"title": "t"}), stored(document()))
    assert [
        [(number, breakage.rule, breakage.old, breakage.new) for number, breakage in new.breakages]
        for new in plan.new_versions
    ] == [[(1, "compatibility_lowered", "BACKWARD_TRANSITIVE", "NONE")], []]


@pytest.mark.parametrize(("mode", "lowered"), [("NONE", ["gift"]), ("FULL_TRANSITIVE", [])])
def test_lowering_the_mode_without_a_version_is_told_as_well(mode: str, lowered: list[str]) -> None:
    plan = plan_changes(in_files(document(**{"x-compatibility": mode})), stored(document()))
    assert plan.new_versions == []
    assert [change.event_type for change in plan.lowered] == lowered


def test_what_was_broken_with_a_reason_is_not_held_against_later_versions() -> None:
    broken = (document(), document(TEXT))
    wider = document(TEXT, required=[])
    [once_more] = plan_changes(in_files(*broken, wider), stored(*broken)).new_versions
    assert [version for version, _ in once_more.breakages] == [1]
    held = stored(*broken, forced=frozenset({2}))
    [new] = plan_changes(in_files(*broken, wider), held).new_versions
    assert new.breakages == []
    [back] = plan_changes(in_files(*broken, document()), held).new_versions
    assert [version for version, _ in back.breakages] == [2]


def test_the_type_of_a_marked_property_is_kept_whatever_the_documents_say_of_marks() -> None:
    wider = document(NUMBER)
    versions = stored(document({"type": "integer"}))
    [new] = plan_changes(in_files(document({"type": "integer"}), wider), versions).new_versions
    assert new.breakages == []
    [held] = versions["gift"].versions
    marked = msgspec.structs.replace(held, marked=["value"])
    versions["gift"] = msgspec.structs.replace(versions["gift"], versions=[marked])
    [new] = plan_changes(in_files(document({"type": "integer"}), wider), versions).new_versions
    assert [(number, b.path, b.rule) for number, b in new.breakages] == [
        (1, "/value", "segmentable_type_changed")
    ]


def test_a_document_is_published_with_the_settings_of_its_event_type() -> None:
    settings = TypeSettings("till", None, "What it is.", "FULL")
    draft = document(
        **{"x-owner": "other", "x-display-name": "Gift", "x-unknown-properties": "strip"}
    )
    said = completed(settings, draft)
    assert said == TypeSettings("till", "Gift", "What it is.", "FULL")
    published = with_settings(draft, said)
    assert published == document() | {
        "x-unknown-properties": "strip",
        "x-owner": "till",
        "x-display-name": "Gift",
        "description": "What it is.",
        "x-compatibility": "FULL",
    }
    assert settings_of(published) == said
    found = differing_settings(draft, settings)
    assert [(f.path, f.rule, f.severity) for f in found] == [
        ("/x-owner", "setting_of_event_type", "warning")
    ]


def test_the_default_compatibility_is_said_only_where_it_was_said() -> None:
    assert with_settings(document(), TypeSettings()) == document()
    said = document(**{"x-compatibility": "NONE"})
    assert with_settings(said, TypeSettings())["x-compatibility"] == "BACKWARD_TRANSITIVE"


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_promises_less_only_than_modes_that_forbid_more(mode: str) -> None:
    assert not promises_less(mode, mode)
    assert not promises_less("NONE", mode)
    assert not promises_less(mode, "FULL_TRANSITIVE")
    assert promises_less(mode, "NONE") is (mode != "NONE")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("BACKWARD_TRANSITIVE", "BACKWARD"),
        ("BACKWARD", "FORWARD"),
        ("FULL", "BACKWARD_TRANSITIVE"),
        ("FULL_TRANSITIVE", "FULL"),
    ],
)
def test_a_change_that_the_old_mode_forbids_could_pass_under_the_new_one(
    old: str, new: str
) -> None:
    assert promises_less(old, new)


def test_keys_that_replaced_one_another_have_one_holder() -> None:
    rotated = [("c", "d"), ("a", "b"), ("b", "c"), ("x", "y")]
    for key in "abcd":
        assert same_holders([key], rotated) == {"a", "b", "c", "d"}
    assert same_holders(["other", "x"], rotated) == {"other", "x", "y"}
    assert same_holders([], rotated) == set()
