"""Repairs damaged captures: cuts off a torn tail, or copies the intact records.

Nothing is invented: the result consists of complete records of the original file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from lbcproxy.capture.formats import HEAD_SIZE, format_of
from lbcproxy.capture.spans import Span
from lbcproxy.errors import CaptureError
from lbcproxy.private import create

__all__ = ["DamageReport", "copy_intact", "cut_tail", "find_damage"]

MAX_DAMAGES = 10_000


class DamageReport(msgspec.Struct, frozen=True):
    """Which parts of a file are intact, and which are damaged."""

    size: int
    """The size of the file in bytes."""
    packets: int
    """The packets in the intact parts."""
    damages: tuple[Span, ...]
    form: str
    """The name of the file's format."""

    @property
    def only_tail(self) -> bool:
        """Whether the only damage is a torn tail, which may be cut off."""
        return all(each.torn for each in self.damages)

    @property
    def kept(self) -> int:
        """The bytes of the intact parts."""
        return self.size - sum(each.end - each.start for each in self.damages)


def find_damage(file: BinaryIO) -> DamageReport:
    """Read a file and report its damage; CaptureError if its format cannot be repaired."""
    packets, size, damages = 0, 0, []
    name, spans = _repairable(file)
    for each in spans(file):
        packets += each.packets
        size = each.end
        if each.damage is not None:
            damages.append(each)
        if len(damages) > MAX_DAMAGES:
            raise CaptureError("damaged in too many places", each.start)
    return DamageReport(size, packets, tuple(damages), name)


def cut_tail(path: Path, found: DamageReport) -> None:
    """Cut off a torn tail; nothing else is ever changed in place."""
    if not found.only_tail:
        raise ValueError("the file is damaged before its end")
    with path.open("r+b") as file:
        if file.seek(0, 2) != found.size:
            raise CaptureError(f"{path} is being written to")
        file.truncate(found.kept)


def copy_intact(path: Path, out: Path, found: DamageReport) -> None:
    """Copy the intact parts of a file into a new file.

    Raises:
        FileExistsError: The new file exists already.
        CaptureError: It cannot be written to the end; nothing is left of it.
    """
    with path.open("rb") as file, os.fdopen(create(out), "wb") as target:
        offset = 0
        try:
            for damage in found.damages:
                _copy(file, target, offset, damage.start)
                offset = damage.end
            _copy(file, target, offset, found.size)
            target.flush()
        except OSError as error:
            out.unlink()
            raise CaptureError(f"cannot write {out}: {error.strerror}") from error


def _copy(file: BinaryIO, target: BinaryIO, start: int, end: int) -> None:
    file.seek(start)
    left = end - start
    while left > 0:
        data = file.read(min(left, 1 << 20))
        if not data:
            raise CaptureError("the file became shorter while it was copied")
        target.write(data)
        left -= len(data)


def _repairable(file: BinaryIO) -> tuple[str, Callable[[BinaryIO], Iterator[Span]]]:
    """Return the name of a file's format, and the function that finds its spans."""
    found = format_of(file.read(HEAD_SIZE))
    if found.spans is None:
        raise CaptureError(f"files of the format {found.name} cannot be repaired")
    return found.name, found.spans
