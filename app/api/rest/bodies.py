"""Reads a request's body: bounded in size and time, decompressed without trusting it."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping

import zstandard
from litestar.types import Receive

from app.errors import AppError, ErrorCode

MAX_BODY_BYTES = 10 << 20
"""After decompression; the compressed body may not be larger either (contract row 15)."""
MAX_ZSTD_WINDOW_BYTES = 8 << 20
"""What RFC 8878 asks every decoder to support, and no more."""
MAX_GZIP_MEMBERS = 1_000
"""Enough for the largest body in blocks of 64 KiB, as parallel compressors write it."""
GZIP_SLICE_BYTES = 16 << 10
THREAD_ABOVE_BYTES = 1 << 10
"""A compressed body this large is unpacked in a thread: it may hold a thousand times as much."""


class Disconnected(Exception):
    """The caller is gone: there is nobody to answer."""


async def read_body(
    headers: Mapping[bytes, bytes], receive: Receive, timeout_seconds: float
) -> bytes:
    """The decompressed body.

    raises  AppError PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, MALFORMED_JSON (bad compression),
            UNAVAILABLE (it did not arrive in time: a new attempt may); Disconnected
    """
    content_type = headers.get(b"content-type", b"")
    encoding = headers.get(b"content-encoding", b"").strip().lower()
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise too_large(int(length))
    if content_type and content_type.split(b";", 1)[0].strip().lower() != b"application/json":
        raise AppError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            "the body must be sent as Content-Type: application/json",
        )
    message = await _next(receive, timeout_seconds)
    body = message[0] if not message[1] else await _rest(receive, message[0], timeout_seconds)
    if encoding in (b"", b"identity"):
        return body
    if len(body) > THREAD_ABOVE_BYTES:
        return await asyncio.to_thread(decompress, body, encoding)
    return decompress(body, encoding)


async def _next(receive: Receive, timeout_seconds: float) -> tuple[bytes, bool]:
    try:
        async with asyncio.timeout(timeout_seconds):
            message = await receive()
    except TimeoutError:
        raise AppError(
            ErrorCode.UNAVAILABLE, "the body did not arrive in time", headers={"Retry-After": "1"}
        ) from None
    if message["type"] != "http.request":
        raise Disconnected
    return message["body"], message["more_body"]


async def _rest(receive: Receive, start: bytes, timeout_seconds: float) -> bytes:
    """The chunks after the first; all of them together within the time."""
    parts, size, more = [start], len(start), True
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    while more:
        part, more = await _next(receive, deadline - asyncio.get_running_loop().time())
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise too_large(size)
        parts.append(part)
    return b"".join(parts)


def decompress(body: bytes, encoding: bytes) -> bytes:
    """The plain body; never allocates more than the limit, whatever the body claims to hold."""
    if encoding not in (b"gzip", b"x-gzip", b"zstd"):
        raise AppError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE, "Content-Encoding must be gzip, zstd or identity"
        )
    try:
        plain = _unzstd(body) if encoding == b"zstd" else _gunzip(body)
    except (zlib.error, zstandard.ZstdError, EOFError):
        raise AppError(
            ErrorCode.MALFORMED_JSON, f"the body is not valid {encoding.decode()}"
        ) from None
    if len(plain) > MAX_BODY_BYTES:
        raise too_large(None)
    return plain


def _gunzip(body: bytes) -> bytes:
    """Members one after another, as RFC 1952 has it.

    Fed in slices, for zlib copies whatever lies behind a member's end: without them a body of
    200,000 empty members held a worker up for longer than its callers wait.
    """
    plain, member, members = bytearray(), zlib.decompressobj(wbits=31), 1
    for start in range(0, len(body), GZIP_SLICE_BYTES):
        piece = body[start : start + GZIP_SLICE_BYTES]
        while piece:
            if member.eof:
                member, members = zlib.decompressobj(wbits=31), members + 1
            if members > MAX_GZIP_MEMBERS:
                raise EOFError
            plain += member.decompress(piece, MAX_BODY_BYTES + 1 - len(plain))
            if len(plain) > MAX_BODY_BYTES:
                return bytes(plain)
            piece = member.unused_data
    if not member.eof:
        raise EOFError
    return bytes(plain)


def _unzstd(body: bytes) -> bytes:
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW_BYTES)
    with decompressor.stream_reader(body, read_across_frames=True) as reader:
        return reader.read(MAX_BODY_BYTES + 1)


def too_large(size: int | None) -> AppError:
    found = f"this one has {size} bytes" if size is not None else "this one is larger"
    return AppError(
        ErrorCode.PAYLOAD_TOO_LARGE,
        f"a body may have {MAX_BODY_BYTES} bytes after decompression; {found}",
    )
