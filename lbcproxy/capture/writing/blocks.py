"""Blocks of pcapng and their options, as lbcproxy writes them: in little-endian sections."""

from __future__ import annotations

import struct

__all__ = ["MIN_BLOCK", "block", "options"]

MIN_BLOCK = 12
"""Bytes of a block with nothing in it: its kind, and its length at both ends."""


def block(kind: int, body: bytes) -> bytes:
    """Build a block of a little-endian section, which is what lbcproxy writes."""
    total = (len(body) + MIN_BLOCK).to_bytes(4, "little")
    return kind.to_bytes(4, "little") + total + body + total


def options(*pairs: tuple[int, bytes]) -> bytes:
    """Build options, by number and value, for a little-endian section; without their end."""
    return b"".join(
        struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
        for code, value in pairs
    )
