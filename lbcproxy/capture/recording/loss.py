"""What a recording lacks, and the block by which its file says so."""

from __future__ import annotations

import struct
import time
from typing import BinaryIO, Self

from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.recording.notes import Note, note_options
from lbcproxy.session import Lost

__all__ = ["Loss", "block_before", "lost_block"]

_MOST = 2**64 - 1
_MIN_BLOCK = 12


def lost_block(lost: Lost, time_ns: int, before: int = 0) -> bytes:
    """Return an Interface Statistics Block that says it: capinfos and Wireshark count it.

    `before` is how much earlier blocks of the section say: other programs want the sum.
    """
    body = struct.pack("<III", 0, time_ns >> 32 & 0xFFFFFFFF, time_ns & 0xFFFFFFFF)
    dropped = struct.pack("<Q", min(before + (lost.messages or lost.packets), _MOST))
    comment = f"{lost.words} before this" + (f": {lost.why}" if lost.why else "")
    note = note_options(Note(comment, {"lost": lost}))
    said = note + pcapng.options((pcapng.OPTION_DROPPED, dropped))
    return pcapng.block(pcapng.STATISTICS, body + said + bytes(4))


class Loss:
    """Messages and bytes of capture that were not written."""

    def __init__(self, messages: int = 0, size: int = 0) -> None:
        self.messages = messages
        self.size = size
        self.said = False
        """Whether it has been told already."""

    def __bool__(self) -> bool:
        return self.size > 0

    def __iadd__(self, other: Loss) -> Self:
        self.messages += other.messages
        self.size += other.size
        self.said = self.said or other.said
        return self

    def __str__(self) -> str:
        return self._lost.words

    @property
    def _lost(self) -> Lost:
        return Lost(messages=self.messages, size=self.size)

    def block(self, so_far: int = 0) -> bytes:
        """Return a block that says it; nothing where nothing is missing.

        `so_far` is how many messages the file lacks in all, these among them.
        """
        before = max(0, so_far - self.messages)
        return lost_block(self._lost, time.time_ns(), before) if self else b""


def block_before(file: BinaryIO, end: int) -> int | None:
    """Return where the block begins that ends at a place of a file of ours; None if none does."""
    if end < _MIN_BLOCK:
        return None
    file.seek(end - 4)
    length = int.from_bytes(file.read(4), "little")
    if length < _MIN_BLOCK or length > end:
        return None
    file.seek(end - length + 4)
    return end - length if int.from_bytes(file.read(4), "little") == length else None
