"""Where an export goes: standard output, or a file that is there whole or not at all."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    raises   Problem when the file exists, or cannot be written
    """
    if file is None:
        yield _write_to_stdout
        return
    if file.exists() and not replace:
        raise Problem(f"{file} exists: choose another name, or --force to replace it")
    with _whole(file, replace=replace) as raw, _packed(raw, file.suffix) as pack:

        def write(data: bytes) -> None:
            try:
                pack(data)
            except OSError as error:
                raise Problem(f"{file}: {error.strerror}") from None

        yield write


def _write_to_stdout(data: bytes) -> None:
    """Whoever reads may leave: `cdp events export | head` is no failure to talk about."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # Python flushes once more when it ends
        os.close(nowhere)
        raise typer.Exit(BROKEN_PIPE_EXIT) from None


@contextmanager
def _whole(file: Path, *, replace: bool) -> Iterator[IO[bytes]]:
    """FILE.part, which becomes FILE when all went well, and goes when not. For its owner only."""
    part = file.with_name(file.name + ".part")
    if replace:
        part.unlink(missing_ok=True)
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Problem(
            f"{part} exists: an export is writing it, or was killed; then remove it, or --force"
        ) from None
    try:
        with os.fdopen(descriptor, "wb") as raw:
            yield raw
            raw.flush()
            os.fsync(raw.fileno())
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def _packed(raw: IO[bytes], suffix: str) -> Iterator[Write]:
    if suffix == ".gz":
        with gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) as stream:
            yield stream.write
    elif suffix == ".zst":
        packer = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
        with packer.stream_writer(raw, closefd=False) as stream:
            yield stream.write
    else:
        yield raw.write
