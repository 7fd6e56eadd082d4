"""Spans of a capture file: which are intact, and which are damaged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

import msgspec

from lbcproxy.errors import CaptureError

__all__ = ["Span", "intact_length", "only_zeros"]


class Span(msgspec.Struct, frozen=True, gc=False):
    """A part of a file, intact or damaged. The intact ones, joined, are a capture."""

    start: int
    end: int
    packets: int = 0
    """The number of packets in it, if it is intact."""
    damage: str | None = None
    """What is wrong at its start; None if it is intact."""
    torn: bool = False
    """Whether it is what a crash leaves at the end: the start of a record, or zeros."""


def intact_length(spans: Iterable[Span]) -> int:
    """Return the number of bytes that are intact, where only a torn tail follows them.

    Any other damage raises CaptureError, since something intact may follow it.
    """
    length = 0
    for each in spans:
        if each.damage is None:
            length = each.end
        elif not each.torn:
            raise CaptureError("damaged, and not at its end", each.start)
    return length


def only_zeros(file: BinaryIO, offset: int) -> bool:
    """Return whether a file has only zeros from an offset to its end."""
    file.seek(offset)
    while data := file.read(1 << 20):
        if any(data):
            return False
    return True
