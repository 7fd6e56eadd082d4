"""Recover the bytes of a stream whose parsing failed, so that they can still be recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from lbcproxy.wire.framer import FrameEnd, Framer, StreamItem

__all__ = ["salvaged"]


def salvaged(
    framer: Framer, items: Sequence[StreamItem], data: bytes, expected: int
) -> tuple[list[bytes], int]:
    """Return the bytes of a stream that have not been delivered, and how many more are lost.

    Args:
        framer: The framer of the stream, which gives up its buffer.
        items: What the framer completed and was not delivered.
        data: The bytes whose reading failed. Whether the framer had taken them already shows in
            the number of bytes that there are.
        expected: How many bytes there should be.

    Nothing is copied, because there may be no memory for it.
    """
    found = [each.raw for each in items if not isinstance(each, FrameEnd)]
    found.append(cast("bytes", framer.release()))
    size = sum(map(len, found))
    if size == expected:
        return found, 0
    if size + len(data) == expected:
        return [*found, data], 0
    if size < len(data):
        found, size = [data], len(data)
    return found, max(0, expected - size)
