"""Where an export goes: standard output, or a file that is there whole or not at all."""

from __future__ import annotations

import fcntl
import gzip
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import typer
import zstandard

from app.cli.runtime import Problem

Write = Callable[[bytes], object]

COMPRESSIONS = (".gz", ".zst")
GZIP_LEVEL = 6
ZSTD_LEVEL = 3
BROKEN_PIPE_EXIT = 141
"""128 + SIGPIPE: what a shell shows for programs that this signal ended."""


@contextmanager
def open_output(file: Path | None, *, replace: bool) -> Iterator[Write]:
    """What takes the bytes of an export.

    file     None: standard output; compressed when it is named so
    replace  an existing file, at the end
    raises   Problem when the file exists, or it or standard output cannot be written
    """
    if file is None:
        if sys.stdout is None:
            raise Problem("standard output is closed")
        yield _write_to_stdout
        return
    if file.exists() and not replace:
        raise Problem(f"{file} exists: choose another name, or --force to replace it")
    with _whole(file, replace=replace) as raw, _packed(raw, file) as pack:

        def write(data: bytes) -> None:
            with _blaming(file):
                pack(data)

        yield write


def _write_to_stdout(data: bytes) -> None:
    """Whoever reads may leave: `cdp events export | head` is no failure to talk about."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # Python flushes once more when it ends
        os.close(nowhere)
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(BROKEN_PIPE_EXIT) from None
        raise Problem(f"standard output: {error.strerror}") from None


@contextmanager
def _whole(file: Path, *, replace: bool) -> Iterator[IO[bytes]]:
    """FILE.part, which becomes FILE when all went well, and goes when not. For its owner only."""
    part = file.with_name(file.name + ".part")
    if replace:
        _remove_left_behind(part)
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Problem(
            f"{part} exists: an export is writing it, or was killed; then remove it, or --force"
        ) from None
    raw = os.fdopen(descriptor, "wb")
    try:
        fcntl.flock(raw, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until it has its name, or is gone
        yield raw
        with _blaming(file):
            raw.flush()
            os.fsync(raw.fileno())
            part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        with suppress(OSError):  # what is lost here belongs to a failure that was told
            raw.close()


def _remove_left_behind(part: Path) -> None:
    """raises  Problem when it is no leftover: an export is writing it"""
    try:
        with part.open("rb") as raw:
            fcntl.flock(raw, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except BlockingIOError:
        raise Problem(f"another export is writing {part}") from None


@contextmanager
def _packed(raw: IO[bytes], file: Path) -> Iterator[Write]:
    """What packs as the file's name says. The end of the packed stream is written at the end."""
    if file.suffix == ".gz":
        stream: IO[bytes] | gzip.GzipFile = gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0)
    elif file.suffix == ".zst":
        packer = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
        stream = packer.stream_writer(raw, closefd=False)
    else:
        yield raw.write
        return
    try:
        yield stream.write
    finally:
        with _blaming(file):
            stream.close()


@contextmanager
def _blaming(file: Path) -> Iterator[None]:
    """raises  Problem, which names the file"""
    try:
        yield
    except OSError as error:
        raise Problem(f"{file}: {error.strerror}") from None
