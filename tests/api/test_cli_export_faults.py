"""`cdp events export` when its reader leaves, its user stops it, or Postgres goes away."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import asyncpg
import msgspec
import pytest

from tests.support import Seed, clean_environment, run_cdp

PROFILE = uuid.UUID(int=1)
FEW, MANY = 5_000, 50_000
MEMORY_BYTES = 8 << 20
"""What ten times as many events may take more; held at once, they would take 50 MB and more."""
FILL = """
insert into event (bucket, event_key, received_at, tenant_id, source_id, event_type_id, version_id,
                   api_key_id, external_event_id, occurred_at, occurred_at_sent, profile_id,
                   size_bytes, identity, properties)
select ('x' || left(md5(n::text), 3))::bit(12)::int, md5(n::text)::uuid,
       now() + n * interval '1 millisecond', t.tenant_id, s.id, t.id, v.id, k.id, n::text, now(),
       true, $3, 400, '{"externalUserId": "L-1"}',
       jsonb_build_object('amount', n, 'order_id', repeat('x', 200))
from generate_series(1, $2::int) as n
join event_type t on t.tenant_id = $1 and t.name = 'purchase_completed'
join event_type_version v on v.event_type_id = t.id and v.version = 1
cross join source s
cross join api_key k
"""


@pytest.fixture
def filled(database_url: str, seeded: Seed) -> str:
    """MANY events, received a millisecond after one another."""

    async def fill() -> None:
        connection = await asyncpg.connect(database_url)
        await connection.execute(
            "insert into source (tenant_id, name, first_seen_at) values ($1, 'brand.pos', now())",
            seeded.tenant_id,
        )
        await connection.execute(
            "insert into profile (bucket, profile_id, tenant_id, root_id, created_at, known)"
            " values (0, $2, $1, $2, now(), true)", seeded.tenant_id, PROFILE,
        )  # fmt: skip
        await connection.execute(FILL, seeded.tenant_id, MANY, PROFILE)
        await connection.execute("analyze")
        await connection.close()

    asyncio.run(fill())
    return database_url


@contextmanager
def exporting(database_url: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`cdp events export` of the tenant, its standard output in a pipe that is hardly read."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "events", "export", "--tenant", "demo", *arguments],
        env=clean_environment() | {"CDP_DATABASE_URL": database_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        _stream(process.stdout).close()
        _stream(process.stderr).close()


def read_line(process: subprocess.Popen[bytes]) -> bytes:
    return _stream(process.stdout).readline()


def read_rest(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """What is left on standard output, then on standard error."""
    return _stream(process.stdout).read(), _stream(process.stderr).read()


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def numbers(exported: bytes) -> list[int]:
    """The external ids."""
    return [int(line["externalEventId"]) for line in msgspec.json.Decoder().decode_lines(exported)]


def test_an_export_takes_the_same_memory_however_long_it_is(filled: str, tmp_path: Path) -> None:
    def highest(limit: int) -> int:
        """Bytes, as the kernel counted them for this one process."""
        with open(os.devnull, "wb") as nowhere:
            process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "events", "export", "--tenant", "demo",
                 "--limit", str(limit)],
                env=clean_environment() | {"CDP_DATABASE_URL": filled},
                stdout=nowhere,
            )  # fmt: skip
            _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return used.ru_maxrss * 1024

    assert highest(MANY) - highest(FEW) < MEMORY_BYTES


@pytest.mark.parametrize("chosen", ["--type=purchase_completed", f"--profile=prf_{PROFILE.hex}"])
def test_pages_of_events_that_occurred_at_once_have_no_seam(filled: str, chosen: str) -> None:
    result = run_cdp(
        "events", "export", "--tenant", "demo", chosen, environment={"CDP_DATABASE_URL": filled}
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert sorted(numbers(result.stdout.encode())) == list(range(1, MANY + 1))


def test_a_reader_that_leaves_ends_it_without_a_word(filled: str) -> None:
    with exporting(filled) as process:
        assert read_line(process).startswith(b'{"event_id":"evt_')
        _stream(process.stdout).close()
        assert (_stream(process.stderr).read(), process.wait()) == (b"", 141)


@pytest.mark.parametrize(
    ("output", "told"),
    [(">&-", "standard output is closed"), (">/dev/full", "No space left on device")],
)
def test_what_standard_output_does_not_take_is_told(filled: str, output: str, told: str) -> None:
    result = subprocess.run(
        ["sh", "-c", f'exec "$0" -m app.cli events export --tenant demo {output}', sys.executable],
        env=clean_environment() | {"CDP_DATABASE_URL": filled},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, "Traceback" in result.stderr) == (1, False)
    assert told in result.stderr


def test_a_lost_connection_neither_repeats_nor_leaves_out_an_event(filled: str) -> None:
    async def disconnect() -> int:
        """Ends all other connections of the database; returns how many there were."""
        connection = await asyncpg.connect(filled)
        try:
            return len(
                await connection.fetch(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and pid <> pg_backend_pid()"
                )
            )
        finally:
            await connection.close()

    with exporting(filled) as process:
        first = read_line(process)  # the pipe is full now, and the export waits
        assert asyncio.run(disconnect())
        rest, told = read_rest(process)
        assert process.wait() == 0
    assert numbers(first + rest) == list(range(MANY, 0, -1))
    assert told == b"Postgres does not answer; again in 0.2 s\n"


def test_what_arrives_meanwhile_shifts_nothing(filled: str, seeded: Seed) -> None:
    async def add() -> None:
        connection = await asyncpg.connect(filled)
        await connection.execute(
            FILL.replace("n::text", "(-n)::text"), seeded.tenant_id, 100, PROFILE
        )
        await connection.close()

    with exporting(filled) as process:
        first = read_line(process)
        asyncio.run(add())
        rest, _ = read_rest(process)
    found = numbers(first + rest)
    assert [number for number in found if number > 0] == list(range(MANY, 0, -1))


def test_stopping_it_leaves_no_file_and_keeps_the_one_before(filled: str, tmp_path: Path) -> None:
    file = tmp_path / "e.ndjson"
    file.write_text("before")
    part = tmp_path / "e.ndjson.part"
    with exporting(filled, "-o", str(file), "--force") as process:
        while not (part.exists() and part.stat().st_size):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    assert (file.read_text(), part.exists()) == ("before", False)


def test_an_existing_file_is_replaced_only_when_told(filled: str, tmp_path: Path) -> None:
    file = tmp_path / "e.ndjson"
    file.write_text("before")

    def export(*more: str) -> tuple[int, str]:
        result = run_cdp(
            "events", "export", "--tenant", "demo", "--limit", "3", "-o", str(file), *more,
            environment={"CDP_DATABASE_URL": filled},
        )  # fmt: skip
        return result.returncode, result.stderr

    refusal = f"cdp: {file} exists: choose another name, or --force to replace it\n"
    assert export() == (1, refusal)
    assert file.read_text() == "before"
    assert export("--force") == (0, f"3 events in {file}\n")
    assert numbers(file.read_bytes()) == [MANY, MANY - 1, MANY - 2]


def test_two_exports_do_not_write_one_file(filled: str, tmp_path: Path) -> None:
    file, part = tmp_path / "e.ndjson", tmp_path / "e.ndjson.part"
    part.write_text("of another")
    result = run_cdp(
        "events", "export", "--tenant", "demo", "-o", str(file),
        environment={"CDP_DATABASE_URL": filled},
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (
        1,
        f"cdp: {part} exists: an export is writing it, or was killed; then remove it, or --force\n",
    )
    assert (file.exists(), part.read_text()) == (False, "of another")


def test_force_takes_a_leftover_away_but_not_what_is_being_written(
    filled: str, tmp_path: Path
) -> None:
    file, part = tmp_path / "e.ndjson", tmp_path / "e.ndjson.part"
    part.write_text("left behind")

    def export() -> tuple[int, str]:
        result = run_cdp(
            "events", "export", "--tenant", "demo", "--limit", "3", "-o", str(file), "--force",
            environment={"CDP_DATABASE_URL": filled},
        )  # fmt: skip
        return result.returncode, result.stderr

    assert export() == (0, f"3 events in {file}\n")
    assert list(tmp_path.iterdir()) == [file]
    with part.open("w") as written:
        fcntl.flock(written, fcntl.LOCK_EX)
        assert export() == (1, f"cdp: another export is writing {part}\n")
        assert part.exists()


@pytest.mark.parametrize("name", ["e.ndjson", "e.ndjson.gz", "e.ndjson.zst"])
def test_a_full_disk_is_told_and_leaves_nothing(filled: str, tmp_path: Path, name: str) -> None:
    result = subprocess.run(
        ["sh", "-c", 'ulimit -f 1024; exec "$0" "$@"', sys.executable, "-m", "app.cli", "events",
         "export", "--tenant", "demo", "-o", str(tmp_path / name)],
        env=clean_environment() | {"CDP_DATABASE_URL": filled},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (
        1,
        f"cdp: {tmp_path}/{name}: File too large\n",
    )
    assert list(tmp_path.iterdir()) == []
