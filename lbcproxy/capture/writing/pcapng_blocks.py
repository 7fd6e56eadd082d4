"""Builds blocks of pcapng and their options, for little-endian sections."""

from __future__ import annotations

import struct

from lbcproxy.capture.formats.pcapng import MIN_BLOCK

__all__ = ["build_block", "build_options"]


def build_block(kind: int, body: bytes) -> bytes:
    """Return a block of a type (a number of the draft) with a body."""
    total = (len(body) + MIN_BLOCK).to_bytes(4, "little")
    return kind.to_bytes(4, "little") + total + body + total


def build_options(*pairs: tuple[int, bytes]) -> bytes:
    """Return options, given as pairs of number and value, without the end-of-options mark."""
    return b"".join(
        struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
        for code, value in pairs
    )
