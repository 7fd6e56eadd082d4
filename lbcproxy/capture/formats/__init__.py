"""Capture files, one format a file: to add a format is to add a file here.

A format has `NAME`, `SUFFIXES`, `matches(head)`, which knows a file by its first bytes, and
`read(file)`, which gives what is in it one after another and holds one packet at a time. One that
can be repaired has `stretches(file)` too, which tells what of it is whole.
"""

import io
from collections.abc import Iterator
from types import ModuleType
from typing import BinaryIO, cast

from lbcproxy import discover
from lbcproxy.capture.packet import Packet, Section
from lbcproxy.errors import CaptureError

__all__ = ["HEAD", "format_of", "read_packets", "recognise"]

HEAD = 16
"""Bytes of a file that tell its format."""


def read_packets(file: BinaryIO) -> Iterator[Packet | Section]:
    """Read a capture file of any format from where it stands, pipes too.

    Raises CaptureError at once if it is no capture, and while reading where it is damaged, after
    everything before the damage was given.
    """
    found, rejoined = recognise(file)
    return cast("Iterator[Packet | Section]", found.read(rejoined))


def recognise(file: BinaryIO) -> tuple[ModuleType, BinaryIO]:
    """Give the format of a file, and the file as it was before it was looked at."""
    head = file.read(HEAD)
    return format_of(head), _rejoined(head, file)


def format_of(head: bytes) -> ModuleType:
    """Give the format of a file by its first bytes; CaptureError if it is no capture."""
    if not head:
        raise CaptureError("empty file")
    formats = discover.entries(__name__)
    for entry in formats:
        if entry.matches(head):
            return entry
    known = ", ".join(entry.NAME for entry in formats)
    raise CaptureError(f"not a capture: it begins with {head[:4].hex()}; understood are {known}")


class _Rejoined(io.RawIOBase):
    """A file with its first bytes put back, since a pipe cannot be wound back."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head = head
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        data = data or self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _rejoined(head: bytes, file: BinaryIO) -> BinaryIO:
    return io.BufferedReader(_Rejoined(head, file), 1 << 16)
