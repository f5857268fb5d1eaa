"""The default Postgres: a wheel's binaries, run as a direct child of this process.

Never leaves a server behind: the kernel stops it when this process is killed, and drops the lock
on its folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import asyncpg

from app.db.binaries import BinariesMissing, is_reachable, usable_binaries
from app.process import die_with_parent

UNPRIVILEGED_USER = "nobody"
"""Postgres refuses to run as root."""
MAX_SOCKET_PATH = 100
"""A socket's path has at most 107 bytes on Linux, 103 on macOS."""
POLL_SECONDS = 0.01
RETRY_SECONDS = 0.2
START_SECONDS = 120.0
"""A start after a crash replays what was written since the last checkpoint."""
LOCK_ATTEMPTS = 10
MAX_LOG_BYTES = 10 << 20
DATABASE = "cdp"
READY_FILE = "database-made"


class EmbeddedPostgresError(RuntimeError):
    """It cannot start; the message says what to do about it."""


_NO_HOME = "this user has no home to keep data in: set CDP_DATA_DIR to a folder that lasts"


def default_data_dir() -> Path:
    """CDP_DATA_DIR, else a folder that suits the user: root's is reachable for other users.

    raises  EmbeddedPostgresError when the user has none that lasts
    """
    if told := os.environ.get("CDP_DATA_DIR"):
        return Path(told)
    if os.geteuid() == 0:
        return Path("/var/lib/cdp")
    state = os.environ.get("XDG_STATE_HOME")
    try:
        folder = Path(state) if state else Path.home() / ".local" / "state"
    except RuntimeError:
        raise EmbeddedPostgresError(_NO_HOME) from None
    parent = folder
    while not parent.exists():
        parent = parent.parent
    if not os.access(parent, os.W_OK):
        raise EmbeddedPostgresError(_NO_HOME)
    return folder / "cdp"


SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "random_page_cost": "1.1",
    "log_checkpoints": "off",
}
"""For one machine that other programs use too. fsync, synchronous_commit and full_page_writes
stay as Postgres has them: on."""


def running_dsn(root: Path) -> str | None:
    """The URL of the embedded Postgres that another process runs on this folder, if one does.

    Waits while it is starting.
    """
    try:
        lock = (root / "lock").open("rb")
    except OSError:
        return None
    place = _Place(root)
    deadline = time.monotonic() + START_SECONDS
    with lock:
        while time.monotonic() < deadline:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            except BlockingIOError:
                if place.ready_pid() is not None:
                    return place.dsn(DATABASE)
            time.sleep(POLL_SECONDS)
    return None


class _Place:
    """Where things are below a data folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.data = self.root / "data"
        self.log = self.root / "postgres.log"
        self.sockets = self.root / "run"
        if len(bytes(self.sockets / ".s.PGSQL.5432")) > MAX_SOCKET_PATH:
            name = hashlib.sha256(bytes(self.root)).hexdigest()[:16]
            self.sockets = Path(tempfile.gettempdir()) / f"cdp-{name}"

    def dsn(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self.sockets), safe='')}"

    def ready_pid(self) -> int | None:
        """The process id of the server that says it is ready."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return int(lines[0]) if lines[7].strip() == "ready" else None
        except (OSError, IndexError, ValueError):
            return None


class EmbeddedPostgres:
    """One server on one folder, as a direct child of this process.

    root      made when it is not there; holds the data, the socket and a log
    settings  in addition to SETTINGS, or instead of them
    Start it from a thread that lasts: the kernel stops the server when that thread ends.
    """

    def __init__(self, root: Path, settings: Mapping[str, str] | None = None) -> None:
        self._place = _Place(root)
        self._settings = {**SETTINGS, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None
        self._account = pwd.getpwnam(UNPRIVILEGED_USER) if os.geteuid() == 0 else None

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def dsn(self, database: str = DATABASE) -> str:
        return self._place.dsn(database)

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; the first time make the cluster and the database `cdp`.

        raises  EmbeddedPostgresError in words for the user
        """
        self._prepare_folders()
        self._take_lock()
        try:
            is_new = self._make_cluster()
            self._run()
            if is_new:
                asyncio.run(self._make_database())
        except BaseException:
            self.stop()
            raise

    def restart(self) -> None:
        """After it has died: the same again, with the lock still held."""
        self._run()

    def stop(self) -> None:
        """Let commands that are beside us finish their transactions, then shut down."""
        if self._process is not None:
            for number, seconds in _STOPS:
                if self._process.poll() is None:
                    self._process.send_signal(number)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        self._process.wait(seconds)
            self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _prepare_folders(self) -> None:
        root = self._place.root
        try:
            is_new = not root.exists()
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if is_new and self._account:
                root.chmod(0o755)  # whatever the umask: Postgres runs as another user
            if self._account and not is_reachable(root):
                raise EmbeddedPostgresError(
                    f"{root} is closed to user {UNPRIVILEGED_USER}, as whom Postgres runs for root:"
                    " set CDP_DATA_DIR to a folder that is open, like /var/lib/cdp"
                )
            self._own(self._place.sockets)
            if self._place.log.exists() and self._place.log.stat().st_size > MAX_LOG_BYTES:
                self._place.log.unlink()
        except OSError as error:
            raise EmbeddedPostgresError(
                f"{root} cannot be used: {error.strerror} (another folder: CDP_DATA_DIR)"
            ) from None

    def _own(self, folder: Path) -> None:
        """Make a folder that only the server's user, and root, can look into."""
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = self._account.pw_uid if self._account else os.geteuid()
        if folder.is_symlink() or folder.stat().st_uid not in (owner, os.geteuid()):
            raise EmbeddedPostgresError(f"{folder} belongs to somebody else")
        folder.chmod(0o700)
        if self._account:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)

    def _take_lock(self) -> None:
        lock = (self._place.root / "lock").open("ab")
        for attempt in range(LOCK_ATTEMPTS):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # perhaps only a command that looks whether we run
                time.sleep(POLL_SECONDS * attempt)
            else:
                self._lock = lock
                return
        lock.close()
        raise EmbeddedPostgresError(
            f"{self._place.root} is in use by another process (another folder: CDP_DATA_DIR)"
        )

    def _binaries(self) -> Path:
        try:
            return usable_binaries(
                self._place.root / "binaries", by_other_user=self._account is not None
            )
        except BinariesMissing as error:
            raise EmbeddedPostgresError(str(error)) from None

    def _as_account(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}

    def _make_cluster(self) -> bool:
        """initdb elsewhere, then rename: one that was killed leaves no half cluster."""
        if (self._place.data / "PG_VERSION").exists():
            return not (self._place.root / READY_FILE).exists()
        unfinished = self._place.root / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._own(unfinished)
        durable = self._settings.get("fsync") != "off"
        done = subprocess.run(
            [
                self._binaries() / "initdb", "-D", unfinished, "-U", "postgres", "-E", "UTF8",
                "--locale=C.UTF-8", "--data-checksums", "--auth-local=trust",
                "--auth-host=reject", *([] if durable else ["--no-sync"]),
            ],
            capture_output=True, text=True, cwd="/", **self._as_account(),
        )  # fmt: skip
        if done.returncode:
            raise EmbeddedPostgresError(f"initdb failed: {(done.stderr or done.stdout).strip()}")
        unfinished.rename(self._place.data)
        return True

    async def _make_database(self) -> None:
        connection = await asyncpg.connect(self.dsn("postgres"))
        try:
            if not await connection.fetchval(
                "select exists (select from pg_database where datname = $1)", DATABASE
            ):
                await connection.execute(f"create database {DATABASE}")
        finally:
            await connection.close()
        (self._place.root / READY_FILE).touch()

    def _run(self) -> None:
        """Start the server and wait until it is ready.

        What a killed one left (a process that is ending, its shared memory) is waited for.
        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            said_before = self._place.log.stat().st_size if self._place.log.exists() else 0
            if self._spawn(deadline):
                return
            with self._place.log.open("rb") as log:
                log.seek(said_before)
                said = log.read().decode(errors="replace")
            left_over = "postmaster.pid" in said or "shared memory block" in said
            if not left_over or time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"Postgres does not start: {_reason(said)}")
            time.sleep(RETRY_SECONDS)

    def _spawn(self, deadline: float) -> bool:
        """Whether it became ready."""
        settings = {"unix_socket_directories": str(self._place.sockets), **self._settings}
        command = [str(self._binaries() / "postgres"), "-D", str(self._place.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self._place.log.open("ab") as log:
            self._process = process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,  # a Ctrl-C in the terminal is for us alone
                preexec_fn=_stop_with_parent,  # after the change of user: that would undo it
                **self._as_account(),
            )
        while process.poll() is None:
            if self._place.ready_pid() == process.pid:
                return True
            if time.monotonic() > deadline:
                process.kill()
                process.wait()
                break
            time.sleep(POLL_SECONDS)
        return False


_STOPS = ((signal.SIGTERM, 3), (signal.SIGINT, 60), (signal.SIGQUIT, 10))
"""Smart shutdown lets open connections finish, fast rolls back, immediate does not write up."""


def _stop_with_parent() -> None:
    die_with_parent(signal.SIGINT)


def _reason(said: str) -> str:
    """What matters of the log, on one line."""
    told = [
        line.partition(sign)[2].strip()
        for line in said.splitlines()
        for sign in ("FATAL:", "DETAIL:", "HINT:", "PANIC:")
        if sign in line
    ]
    return " ".join(told) or said.strip()[-500:] or "it ended at once and said nothing"
