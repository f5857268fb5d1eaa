"""Every command, beside a running service and without one."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from stat import S_IMODE
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from app.cli.main import app, main
from app.cli.runtime import Problem
from tests.support import (
    EXAMPLE,
    Api,
    Service,
    ServiceProcess,
    clean_environment,
    eventually,
    purchase,
    run_cdp,
)

Cdp = Callable[..., Result]


@pytest.fixture
def cdp(database_url: str) -> Cdp:
    """Run a command in this process, on the test's database."""
    runner = CliRunner()

    def run(*arguments: str) -> Result:
        return runner.invoke(
            app, arguments, env={"CDP_DATABASE_URL": database_url, "COLUMNS": "200"}
        )

    return run


def as_json(result: Result) -> Any:
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def problem(result: Result) -> str:
    """What `cdp` prints as its one line of error."""
    assert result.exit_code == 1
    assert isinstance(result.exception, Problem), result.exception
    return str(result.exception)


# ── tenants and keys ──────────────────────────────────────────────────────────────────────────


def test_a_tenant_is_created_once_and_listed(cdp: Cdp) -> None:
    created = as_json(cdp("tenants", "create", "acme", "--json"))
    assert created["name"] == "acme"
    assert "already" in problem(cdp("tenants", "create", "acme"))
    assert "no tenant name" in problem(cdp("tenants", "create", "Not A Name"))
    assert [t["name"] for t in as_json(cdp("tenants", "list", "--json"))] == ["acme", "demo"]


async def test_a_tenant_s_time_in_quarantine_can_be_set(cdp: Cdp, api: Api) -> None:
    changed = await asyncio.to_thread(
        cdp, "tenants", "set", "demo", "--quarantine-days", "3", "--rate-limit", "1000"
    )
    assert changed.stdout == "tenant demo: quarantine_days 3, events_per_minute 1000\n"

    async def is_known() -> bool:
        limit = (await api.post(purchase("a", identity={}))).headers["ratelimit-limit"]
        return bool(limit == "1000")

    await eventually(is_known)
    rows = await api.fetch(
        "select expires_at - received_at as kept from quarantine order by received_at desc limit 1"
    )
    assert rows[0]["kept"] == timedelta(days=3)


def test_keys_create_prints_all_that_a_program_needs(cdp: Cdp) -> None:
    key = as_json(
        cdp("keys", "create", "--tenant", "demo", "--name", "till", "--scope", "events:write",
            "--scope", "events:read", "--source", "brand.pos", "--event-type",
            "purchase_completed", "--expires", "90d", "--json")
    )  # fmt: skip
    assert key["key"].startswith(f"cdp_live_{key['id']}_")
    assert {name: key[name] for name in ("tenant", "name", "scopes", "sources", "event_types")} == {
        "tenant": "demo",
        "name": "till",
        "scopes": ["events:write", "events:read"],
        "sources": ["brand.pos"],
        "event_types": ["purchase_completed"],
    }
    assert key["expires_at"] is not None


def test_listed_keys_never_show_their_secrets(cdp: Cdp) -> None:
    key = as_json(cdp("keys", "create", "--tenant", "demo", "--name", "till", "--json"))
    secret = key["key"].rsplit("_", 1)[1]
    listed = cdp("keys", "list", "--tenant", "demo", "--json")
    assert key["id"] in [k["id"] for k in as_json(listed)]
    assert secret not in listed.stdout
    assert secret not in cdp("keys", "list", "--tenant", "demo").stdout


def test_a_key_is_rotated_and_revoked_by_its_id(cdp: Cdp) -> None:
    key = as_json(cdp("keys", "create", "--tenant", "demo", "--name", "till", "--json"))
    new = as_json(cdp("keys", "rotate", key["id"], "--tenant", "demo", "--grace", "1h", "--json"))
    assert new["replaces"] == key["id"]
    assert cdp("keys", "revoke", new["id"], "--tenant", "demo").exit_code == 0
    assert "no live key" in problem(cdp("keys", "revoke", new["id"], "--tenant", "demo"))
    states = {k["id"]: k for k in as_json(cdp("keys", "list", "--tenant", "demo", "--json"))}
    assert states[new["id"]]["revoked_at"] is not None
    assert states[key["id"]]["expires_at"] is not None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("keys", "list", "--tenant", "nobody"), "there is no tenant 'nobody'"),
        (
            ("keys", "create", "--tenant", "demo", "--name", "x", "--expires", "soon"),
            "'soon' is no duration",
        ),
        (("sources", "set", "a", "--tenant", "demo", "--phone-region", "XX"), "no phone region"),
        (("sources", "set", "a", "--tenant", "demo", "--status", "GONE"), "ACTIVE or DISABLED"),
    ],
)
def test_a_mistake_is_told_in_one_line(cdp: Cdp, arguments: tuple[str, ...], told: str) -> None:
    message = problem(cdp(*arguments))
    assert told in message
    assert "\n" not in message


def test_sources_get_settings_before_their_first_event(cdp: Cdp) -> None:
    assert (
        cdp("sources", "set", "brand.pos", "--tenant", "demo", "--phone-region", "DE").exit_code
        == 0
    )
    listed = cdp("sources", "list", "--tenant", "demo").stdout
    assert "brand.pos" in listed
    assert "DE" in listed


# ── registry ──────────────────────────────────────────────────────────────────────────────────


def write_type(folder: Path, name: str, versions: list[dict[str, Any]]) -> Path:
    (folder / name).mkdir(parents=True, exist_ok=True)
    for number, properties in enumerate(versions, start=1):
        document = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "x-owner": "test",
            "properties": properties,
        }
        (folder / name / f"{number}.json").write_text(json.dumps(document, indent=2))
    return folder


TEXT, NUMBER = {"type": "string"}, {"type": "number"}


def test_lint_names_file_line_and_reason(cdp: Cdp, tmp_path: Path) -> None:
    folder = write_type(tmp_path, "gift_card_sold", [{"value": {"type": "numbr"}}])
    result = cdp("registry", "lint", str(folder))
    assert result.exit_code == 1
    assert "gift_card_sold/1.json:7: /properties/value/type" in str(result.exception)


def test_plan_apply_plan_again(cdp: Cdp, tmp_path: Path) -> None:
    folder = write_type(tmp_path, "gift_card_sold", [{"value": NUMBER}])
    planned = cdp("registry", "plan", str(folder), "--tenant", "demo")
    assert planned.exit_code == 2, planned.output
    assert "+ gift_card_sold version 1" in planned.stdout
    applied = cdp("registry", "apply", str(folder), "--tenant", "demo")
    assert "published gift_card_sold version 1" in applied.stdout
    assert cdp("registry", "plan", str(folder), "--tenant", "demo").exit_code == 0


@pytest.mark.contract("4.22: an incompatible change says which path breaks which rule")
def test_an_incompatible_version_is_explained_refused_and_can_be_forced(
    cdp: Cdp, tmp_path: Path
) -> None:
    folder = write_type(tmp_path, "gift_card_sold", [{"value": NUMBER}])
    cdp("registry", "apply", str(folder), "--tenant", "demo")
    write_type(tmp_path, "gift_card_sold", [{"value": NUMBER}, {"value": TEXT}])
    planned = cdp("registry", "plan", str(folder), "--tenant", "demo")
    assert planned.exit_code == 1
    assert "/value: type_changed (version 1)" in planned.stdout
    refused = cdp("registry", "apply", str(folder), "--tenant", "demo")
    assert refused.exit_code == 1
    assert "gift_card_sold version 2: /value" in str(refused.exception)
    forced = cdp("registry", "apply", str(folder), "--tenant", "demo", "--force-reason", "tested")
    assert "published gift_card_sold version 2" in forced.stdout


@pytest.mark.contract("4.22: versions are immutable")
def test_a_published_version_is_immutable(cdp: Cdp, tmp_path: Path) -> None:
    folder = write_type(tmp_path, "gift_card_sold", [{"value": NUMBER}])
    cdp("registry", "apply", str(folder), "--tenant", "demo")
    write_type(tmp_path, "gift_card_sold", [{"value": TEXT}])
    refused = cdp("registry", "apply", str(folder), "--tenant", "demo")
    assert "immutable" in str(refused.exception)


def test_pull_writes_what_apply_read(cdp: Cdp, tmp_path: Path) -> None:
    assert cdp("registry", "pull", str(tmp_path), "--tenant", "demo").exit_code == 0
    assert cdp("registry", "plan", str(tmp_path), "--tenant", "demo").exit_code == 0
    assert (tmp_path / "purchase_completed" / "2.json").exists()


# ── events, quarantine, doctor: beside a running service ──────────────────────────────────────


def write_events(file: Path, events: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(event) + "\n" for event in events))
    return file


def test_an_import_answers_with_totals_and_keeps_rejects_with_reasons(
    service: Service, cdp: Cdp, tmp_path: Path
) -> None:
    file = write_events(
        tmp_path / "day.ndjson",
        [purchase("a"), purchase("b"), purchase("a"), purchase("c", identity={})],
    )
    with file.open("a") as out:
        out.write("{this is not JSON\n\n")
    there = ("--url", service.url, "--key", service.key)
    result = cdp("events", "import", str(file), *there)
    assert result.exit_code == 1
    assert "2 accepted, 1 duplicate, 2 refused" in result.stdout
    kept = tmp_path / "day.rejects.ndjson"
    rejects = [json.loads(line) for line in kept.read_text().splitlines()]
    assert S_IMODE(kept.stat().st_mode) == 0o600
    assert [(r["line"], r["errors"][0]["code"]) for r in rejects] == [
        (4, "identity_required"),
        (5, "field_type"),
    ]
    again = cdp("events", "import", str(file), *there)
    assert "0 accepted, 3 duplicate, 2 refused" in again.stdout
    listed = as_json(cdp("quarantine", "list", "--tenant", "demo", "--json"))
    assert {reason["code"] for item in listed for reason in item["reasons"]} == {
        "identity_required",
        "field_type",
    }
    assert [item["state"] for item in listed] == ["open"] * 4
    of_acceptance = ("quarantine", "list", "--tenant", "demo", "--state", "accepted", "--json")
    assert as_json(cdp(*of_acceptance)) == []


def test_a_killed_import_goes_on_and_counts_every_line_once(
    service: Service, tmp_path: Path
) -> None:
    count = 6_000
    file = write_events(tmp_path / "big.ndjson", [purchase(f"e{n}") for n in range(count)])
    command = [
        sys.executable, "-m", "app.cli", "events", "import", str(file), "--url", service.url,
        "--key", service.key, "--batch-size", "100", "--connections", "1",
    ]  # fmt: skip
    importing = subprocess.Popen(command, env=clean_environment(), stdout=subprocess.DEVNULL)
    checkpoint = tmp_path / "big.ndjson.import-checkpoint"
    while not checkpoint.exists():
        assert importing.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    importing.send_signal(signal.SIGKILL)
    importing.wait()
    assert checkpoint.exists()
    resumed = run_cdp(*command[3:], environment={})
    assert resumed.returncode == 0, resumed.stderr
    assert "going on after line" in resumed.stdout
    assert not checkpoint.exists()
    totals = resumed.stdout.splitlines()[-1]
    assert totals.endswith("0 refused")
    accepted, duplicate = (int(part.split()[0].replace(",", "")) for part in totals.split(", ")[:2])
    assert accepted + duplicate == count


def checkpoint_of(
    file: Path, recipient: str, line: int, rejects_bytes: int, age_ns: int = 0
) -> None:
    """What an import leaves that was killed after so many lines."""
    state = file.stat()
    left = {
        "size_bytes": state.st_size,
        "modified_ns": state.st_mtime_ns - age_ns,
        "recipient": recipient,
        "line": line,
        "rejects_bytes": rejects_bytes,
        "totals": {"accepted": line, "duplicate": 0, "error": 0},
    }
    file.with_name(file.name + ".import-checkpoint").write_text(json.dumps(left))


def test_an_import_goes_on_only_for_the_recipient_and_the_file_it_had_begun(
    service: Service, cdp: Cdp, tmp_path: Path
) -> None:
    file = write_events(tmp_path / "day.ndjson", [purchase(f"e{n}") for n in range(3)])
    arguments = ("events", "import", str(file), "--url", service.url, "--key", service.key)
    ours = f"{service.url} {service.key.split('_')[2]}"
    checkpoint_of(file, f"{service.url} another", line=2, rejects_bytes=0)
    assert "3 accepted, 0 duplicate, 0 refused" in cdp(*arguments).stdout
    checkpoint_of(file, ours, line=2, rejects_bytes=0, age_ns=1)
    assert "0 accepted, 3 duplicate, 0 refused" in cdp(*arguments).stdout
    checkpoint_of(file, ours, line=2, rejects_bytes=0)
    resumed = cdp(*arguments).stdout
    assert "going on after line 2" in resumed
    assert "2 accepted, 1 duplicate, 0 refused" in resumed


def test_a_resumed_import_lists_every_refused_line_once(
    service: Service, cdp: Cdp, tmp_path: Path
) -> None:
    events = [purchase(f"r{n}", identity={}) for n in range(3)]
    file = write_events(tmp_path / "day.ndjson", events)
    rejects = tmp_path / "day.rejects.ndjson"
    rejects.write_text('{"line":1}\n{"line":2}\n')  # killed before the second was in the checkpoint
    checkpoint_of(file, f"{service.url} {service.key.split('_')[2]}", line=1, rejects_bytes=11)
    cdp("events", "import", str(file), "--url", service.url, "--key", service.key)
    assert [json.loads(line)["line"] for line in rejects.read_text().splitlines()] == [1, 2, 3]


def test_commands_work_without_a_service_and_beside_one(data_folder: Path) -> None:
    environment = {"CDP_DATA_DIR": str(data_folder)}
    alone = run_cdp("tenants", "create", "acme", environment=environment)
    assert alone.returncode == 0, alone.stderr
    assert not (data_folder / "data" / "postmaster.pid").exists(), "Postgres was for the while"
    service = ServiceProcess(environment, "--workers", "2")
    try:
        service.wait_until_ready()
        applied = run_cdp("registry", "apply", "--tenant", "acme", environment=environment)
        assert applied.returncode == 0, applied.stderr
        created = run_cdp(
            "keys", "create", "--tenant", "acme", "--name", "n", "--json", environment=environment
        )
        key = json.loads(created.stdout)
        headers = {"Authorization": f"Bearer {key['key']}"}

        def post(name: str) -> int:
            event = EXAMPLE | {"externalEventId": name}
            return httpx.post(
                f"{service.url}/v1/cdp/events", json=event, headers=headers
            ).status_code

        assert [post(f"e{n}") for n in range(8)] == [202] * 8, "enforced by every worker"
        healthy = run_cdp("doctor", environment=environment)
        assert healthy.returncode == 0, healthy.stdout
        assert "broken" not in healthy.stdout
        second = run_cdp("serve", environment=environment)
        assert second.returncode == 1
        assert "running" in second.stderr or "cannot listen" in second.stderr
    finally:
        service.stop()


def test_doctor_says_what_is_broken(cdp: Cdp) -> None:
    assert cdp("doctor").exit_code in (0, 1)
    away = CliRunner().invoke(
        app, ["doctor"], env={"CDP_DATABASE_URL": "postgresql://127.0.0.1:1/nothing"}
    )
    assert away.exit_code == 1
    assert "Postgres cannot be reached" in away.stdout


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("CDP_WORKER", "4", "cdp: there is no setting CDP_WORKER (see docs/settings.md)\n"),
        ("CDP_PORT", "http", "cdp: CDP_PORT is wrong: Expected `int`, got `str`\n"),
        ("CDP_WORKERS", "0", "cdp: CDP_WORKERS is wrong: Expected `int` >= 1\n"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(variable: str, value: str, line: str) -> None:
    result = run_cdp("keys", "list", "--tenant", "demo", environment={variable: value})
    assert (result.returncode, result.stderr) == (1, line)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "line"),
    [
        ("keys create --name n", 2, "cdp: Missing option '--tenant' / '-t'. (see cdp keys create"),
        ("keys create --tenant demo --name n --scope all", 2, "'all' is not one of 'events:write'"),
        ("keys create --tenant demo --name n --expires 90", 1, "cdp: '90' is no duration"),
        ("keys create --tenant demo --name n --expires 0d", 1, "cdp: a key that expires at once"),
        ("keys create --tenant demo --name n --expires 999999w", 1, "longer than a hundred years"),
        ("keys create --tenant demo --name=", 1, "cdp: --name is for people"),
        ("keys create --tenant demo --name n --source=", 1, "cdp: '' is no source"),
        ("keys create --tenant demo --name n --event-type=No", 1, "cdp: 'No' is no event type"),
        ("serve --port 70000", 2, "'--port': Input should be less than or equal to 65535"),
        ("events import nothing.ndjson", 2, "file 'nothing.ndjson' does not exist"),
        ("sell", 2, "cdp: No such command 'sell'. (see cdp --help)"),
        ("tenants list", 1, "cdp: Postgres cannot be reached: Connect call failed"),
    ],
)
def test_every_error_is_one_readable_line(
    arguments: str,
    exit_code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CDP_DATABASE_URL", "postgresql://127.0.0.1:1/nothing")
    monkeypatch.setattr(sys, "argv", ["cdp", *arguments.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (exit_code, "")
    assert line in printed.err
    assert len(printed.err.splitlines()) == 1


def commands() -> Iterator[list[str]]:
    import typer

    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        yield [name]
        for below in getattr(command, "commands", {}):
            yield [name, below]


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_every_command_has_help(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage: " in result.output
