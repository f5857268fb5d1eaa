"""`cdp events import`: a file of events through the batch endpoint, resumable and idempotent.

What `cdp events export` wrote is imported again.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Annotated

import msgspec
import typer
import zstandard
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from app.access.keys import parse_key
from app.cli.export import export
from app.cli.export_rows import MaskedLine, as_sent
from app.cli.remote import Target, target
from app.cli.runtime import Problem, out
from app.cli.sender import MAX_BATCH_BYTES, Result, Sender, Totals
from app.settings import read_settings

CHUNK_BYTES = 1 << 16

app = typer.Typer(help="Events: import a file, export any of them.", no_args_is_help=True)
app.command("export")(export)


class Checkpoint(msgspec.Struct):
    """How far an import got: kept beside the file until it is done."""

    size_bytes: int
    modified_ns: int
    """Of the file; with another size or time it is another file."""
    recipient: str
    """Whom the events went to: another tenant has seen none of them."""
    line: int = 0
    """Every line up to this one has its verdict."""
    rejects_bytes: int = 0
    """Length of the rejects file at that line."""
    totals: Totals = msgspec.field(default_factory=Totals)


class Batch(msgspec.Struct, frozen=True):
    items: list[bytes]
    lines: list[int]
    last_line: int
    position: int
    """In the file as it lies on disk, for the progress bar."""


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="FILE.ndjson, .ndjson.gz or .ndjson.zst"),
    ],
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", "-t", help="Import for this tenant, with a passing key."),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", envvar="CDP_KEY", help="Import with this API key.")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", envvar="CDP_URL", help="A service elsewhere.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, max=2000, help="Events a request.")
    ] = 500,
    connections: Annotated[
        int, typer.Option("--connections", min=1, max=16, help="Requests under way at once.")
    ] = 4,
) -> None:
    """Import events, one JSON object a line, through the batch endpoint.

    Stop it whenever you like: the same command goes on where it was, and what was delivered twice
    is only a duplicate. Refused lines are written with their reasons to FILE.rejects.ndjson.
    """
    settings = read_settings()

    async def run() -> Totals:
        async with target(settings, tenant=tenant, key=key, url=url, purpose="import") as there:
            recipient = _recipient(tenant, key, url)
            return await _import(file, recipient, there, batch_size, connections)

    totals = asyncio.run(run())
    out.print(str(totals))
    if totals.error:
        out.print(f"refused lines, with reasons: {_rejects_file(file)}")
        raise typer.Exit(1)


async def _import(
    file: Path, recipient: str, there: Target, batch_size: int, connections: int
) -> Totals:
    checkpoint = _read_checkpoint(file, recipient)
    if checkpoint.line:
        out.print(f"going on after line {checkpoint.line:,}")
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[totals]}"),
        console=out,
    )
    batches = _batches(file, checkpoint.line, batch_size)
    with progress, _rejects(file, checkpoint.rejects_bytes) as rejects:
        bar = progress.add_task("importing", total=checkpoint.size_bytes, totals="")
        async with Sender(there.url, there.key, connections) as sender:
            verdicts = sender.deliver_each(batches, lambda batch: batch.items, connections)
            async for batch, results in verdicts:
                checkpoint.totals.add(results)
                _write_rejects(rejects, batch, results)
                checkpoint.line, checkpoint.rejects_bytes = batch.last_line, rejects.tell()
                _write_checkpoint(file, checkpoint)
                progress.update(bar, completed=batch.position, totals=str(checkpoint.totals))
        progress.update(bar, completed=checkpoint.size_bytes)
    _checkpoint_file(file).unlink(missing_ok=True)
    return checkpoint.totals


def _batches(file: Path, after_line: int, batch_size: int) -> Iterator[Batch]:
    """The file's events from that line on, in requests of a legal size; memory stays constant."""
    items: list[bytes] = []
    lines: list[int] = []
    size = number = position = 0
    with file.open("rb") as raw:
        for number, line in enumerate(_lines(raw, file), start=1):
            line = line.strip()
            if number <= after_line or not line:
                continue
            if items and (len(items) == batch_size or size + len(line) > MAX_BATCH_BYTES):
                position = raw.tell()
                yield Batch(items, lines, lines[-1], position)
                items, lines, size = [], [], 0
            items.append(_as_item(line, number))
            lines.append(number)
            size += len(line) + 1
        if items:
            yield Batch(items, lines, number, raw.tell())


def _as_item(line: bytes, number: int) -> bytes:
    """The event, if the line is one JSON value; else its text as a JSON string.

    A broken line must not break the body that it travels in, nor pass for two events. As a string
    it is refused and kept in quarantine like any other bad event.
    """
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.json.encode(line.decode(errors="replace"))
    try:
        return as_sent(line)
    except MaskedLine:
        raise Problem(
            f"line {number} was exported without --pii: its personal values are not there"
        ) from None


def _lines(raw: IO[bytes], file: Path) -> Iterator[bytes]:
    if file.suffix == ".gz":
        try:
            with gzip.GzipFile(fileobj=raw) as plain:
                yield from plain
        except (OSError, EOFError, zlib.error) as error:
            raise Problem(f"{file} is no whole gzip file: {error}") from None
    elif file.suffix == ".zst":
        try:
            yield from _zstd_lines(raw)
        except (EOFError, zstandard.ZstdError) as error:
            raise Problem(f"{file} is no whole zstd file: {error}") from None
    else:
        yield from raw


def _zstd_lines(raw: IO[bytes]) -> Iterator[bytes]:
    """raises  EOFError where the file ends too early, which zstd's own reader takes for its end"""
    rest, frame = b"", _zstd_frame()
    while chunk := raw.read(CHUNK_BYTES):
        while chunk:
            if frame.eof:
                frame = _zstd_frame()
            rest += frame.decompress(chunk)
            chunk = frame.unused_data
        *lines, rest = rest.split(b"\n")
        yield from lines
    if not frame.eof:
        raise EOFError("it ends too early")
    yield rest


def _zstd_frame() -> zstandard.ZstdDecompressionObj:
    return zstandard.ZstdDecompressor().decompressobj()


def _recipient(tenant: str | None, key: str | None, url: str | None) -> str:
    """Names it without the key's secret: the checkpoint is a file like any other."""
    parsed = parse_key(key.encode()) if key else None
    return f"{url or 'here'} {parsed[0] if parsed else tenant}"


@contextmanager
def _rejects(file: Path, kept_bytes: int) -> Iterator[IO[bytes]]:
    """The rejects file, for its owner only; it is not there when nothing was refused.

    Behind what the checkpoint knows of: a line that was written after it is delivered again.
    """
    path = _rejects_file(file)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as rejects:
        rejects.truncate(min(kept_bytes, rejects.seek(0, os.SEEK_END)))
        rejects.seek(0, os.SEEK_END)
        try:
            yield rejects
        finally:
            if not rejects.tell():
                path.unlink()


def _write_rejects(rejects: IO[bytes], batch: Batch, results: list[Result]) -> None:
    """One line a refused event: its line, the reasons, the event as it was."""
    for item, line, result in zip(batch.items, batch.lines, results, strict=True):
        if result.status == "error":
            row = {
                "line": line,
                "error_code": result.error_code,
                "message": result.message,
                "errors": result.errors,
                "event": item.decode(errors="replace"),
            }
            rejects.write(msgspec.json.encode(row) + b"\n")
    rejects.flush()


def _rejects_file(file: Path) -> Path:
    name = file.name.removesuffix(".gz").removesuffix(".zst").removesuffix(".ndjson")
    return file.with_name(name + ".rejects.ndjson")


def _checkpoint_file(file: Path) -> Path:
    return file.with_name(file.name + ".import-checkpoint")


def _read_checkpoint(file: Path, recipient: str) -> Checkpoint:
    """Of this very file and recipient; else one at the beginning."""
    state = file.stat()
    start = Checkpoint(state.st_size, state.st_mtime_ns, recipient)
    with suppress(OSError, msgspec.DecodeError):
        found = msgspec.json.decode(_checkpoint_file(file).read_bytes(), type=Checkpoint)
        if (found.size_bytes, found.modified_ns, found.recipient) == (
            start.size_bytes,
            start.modified_ns,
            recipient,
        ):
            return found
    return start


def _write_checkpoint(file: Path, checkpoint: Checkpoint) -> None:
    temporary = _checkpoint_file(file).with_suffix(".part")
    temporary.write_bytes(msgspec.json.encode(checkpoint))
    temporary.replace(_checkpoint_file(file))
