"""Unpacking bodies: every whole one, and none that would cost too much."""

from __future__ import annotations

import gzip
import os

import pytest
import zstandard

from app.api.rest.bodies import MAX_BODY_BYTES, MAX_GZIP_MEMBERS, decompress
from app.errors import AppError, ErrorCode

PLAIN = os.urandom(300_000)


def refusal(body: bytes, encoding: bytes) -> ErrorCode:
    with pytest.raises(AppError) as caught:
        decompress(body, encoding)
    return caught.value.code


@pytest.mark.parametrize("member_bytes", [1 << 10, 1 << 16, len(PLAIN)])
def test_a_body_of_several_gzip_members_is_one_body(member_bytes: int) -> None:
    starts = range(0, len(PLAIN), member_bytes)
    body = b"".join(gzip.compress(PLAIN[start : start + member_bytes]) for start in starts)
    assert decompress(body, b"gzip") == PLAIN


def test_more_gzip_members_than_anybody_needs_are_refused() -> None:
    assert decompress(gzip.compress(b"") * MAX_GZIP_MEMBERS, b"gzip") == b""
    assert refusal(gzip.compress(b"") * (MAX_GZIP_MEMBERS + 1), b"gzip") == "malformed_json"


@pytest.mark.parametrize("cut", [0, 1, 8, 10, 150_000, 299_999])
def test_a_gzip_body_that_was_cut_off_is_refused(cut: int) -> None:
    assert refusal(gzip.compress(PLAIN)[:cut], b"gzip") == "malformed_json"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"gzip", gzip.compress(b"{}") + b"more"),
        (b"zstd", zstandard.compress(b"{}") + b"more"),
    ],
    ids=["gzip", "zstd"],  # a gzip body holds the time of its making
)
def test_what_follows_a_compressed_body_is_refused(encoding: bytes, body: bytes) -> None:
    assert refusal(body, encoding) == "malformed_json"


@pytest.mark.parametrize(
    ("encoding", "compress"), [(b"gzip", gzip.compress), (b"zstd", zstandard.compress)]
)
def test_the_limit_counts_the_bytes_after_decompression(encoding: bytes, compress: object) -> None:
    assert callable(compress)
    largest = b"a" * MAX_BODY_BYTES
    assert decompress(compress(largest), encoding) == largest
    assert refusal(compress(largest + b"a"), encoding) == "payload_too_large"
