"""What could not be recorded, and the block by which a file says so."""

from __future__ import annotations

import time
from typing import BinaryIO, Self

from lbcproxy.capture.formats.pcapng import MIN_BLOCK
from lbcproxy.capture.writing.notes import lost_block
from lbcproxy.deprecated import DeprecatedAttribute
from lbcproxy.session import Lost

__all__ = ["Loss", "block_before"]


class Loss:
    """Messages, and bytes of capture, that were not written."""

    said = DeprecatedAttribute("is_notified")

    def __init__(self, messages: int = 0, size: int = 0) -> None:
        self.messages = messages
        self.size = size
        self.is_notified = False
        """Whether the user has been notified of it."""

    def __bool__(self) -> bool:
        return self.size > 0

    def __iadd__(self, other: Loss) -> Self:
        self.messages += other.messages
        self.size += other.size
        self.is_notified = self.is_notified or other.is_notified
        return self

    def __str__(self) -> str:
        return self._lost.description

    @property
    def _lost(self) -> Lost:
        return Lost(messages=self.messages, size=self.size)

    def block(self, so_far: int = 0) -> bytes:
        """Return the block that says so; no bytes if nothing is lost.

        Args:
            so_far: How many messages the file lacks in all, including these.
        """
        before = max(0, so_far - self.messages)
        return lost_block(self._lost, time.time_ns(), before) if self else b""


def block_before(file: BinaryIO, end: int) -> int | None:
    """Return the offset of the block that ends at an offset of our file; None if none does."""
    if end < MIN_BLOCK:
        return None
    file.seek(end - 4)
    length = int.from_bytes(file.read(4), "little")
    if length < MIN_BLOCK or length > end:
        return None
    file.seek(end - length + 4)
    return end - length if int.from_bytes(file.read(4), "little") == length else None
