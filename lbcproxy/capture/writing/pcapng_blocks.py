"""Blocks of pcapng and their options, as lbcproxy writes them: in little-endian sections."""

from __future__ import annotations

import struct

from lbcproxy.capture.formats.pcapng import MIN_BLOCK

__all__ = ["build_block", "build_options"]


def build_block(kind: int, body: bytes) -> bytes:
    """Build a block of a little-endian section, which is what lbcproxy writes."""
    total = (len(body) + MIN_BLOCK).to_bytes(4, "little")
    return kind.to_bytes(4, "little") + total + body + total


def build_options(*pairs: tuple[int, bytes]) -> bytes:
    """Build options, by number and value, for a little-endian section; without their end."""
    return b"".join(
        struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
        for code, value in pairs
    )
