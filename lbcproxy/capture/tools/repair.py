"""Damaged captures: what of them is whole, cut to that or copied from it.

Nothing is made up: what is kept are the bytes of the file, whole records of them.
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

__all__ = ["Survey", "copy_whole", "cut_tail", "survey"]

_MOST_DAMAGES = 10_000


class Survey(msgspec.Struct, frozen=True):
    """What is whole in a file, and what is not."""

    size: int
    packets: int
    """In what is whole."""
    damages: tuple[Span, ...]
    form: str
    """The name of the file's format."""

    @property
    def only_tail(self) -> bool:
        """Whether the damage is a torn tail, which may be cut off."""
        return all(each.torn for each in self.damages)

    @property
    def kept(self) -> int:
        """Bytes that are whole."""
        return self.size - sum(each.end - each.start for each in self.damages)


def survey(file: BinaryIO) -> Survey:
    """Read through a file; CaptureError if it is no capture of a kind that can be repaired."""
    packets, size, damages = 0, 0, []
    name, spans = _repairable(file)
    for each in spans(file):
        packets += each.packets
        size = each.end
        if each.damage is not None:
            damages.append(each)
        if len(damages) > _MOST_DAMAGES:
            raise CaptureError("damaged in too many places", each.start)
    return Survey(size, packets, tuple(damages), name)


def cut_tail(path: Path, found: Survey) -> None:
    """Cut a torn tail off; nothing else is ever changed in a file."""
    if not found.only_tail:
        raise ValueError("damaged, and not at its end")
    with path.open("r+b") as file:
        if file.seek(0, 2) != found.size:
            raise CaptureError(f"{path} is being written to")
        file.truncate(found.kept)


def copy_whole(path: Path, out: Path, found: Survey) -> None:
    """Write what is whole into a new file; FileExistsError if it is there already.

    If it cannot be written to the end, CaptureError says why, and nothing is left of it.
    """
    with path.open("rb") as file, os.fdopen(create(out), "wb") as target:
        place = 0
        try:
            for damage in found.damages:
                _copy(file, target, place, damage.start)
                place = damage.end
            _copy(file, target, place, found.size)
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
            raise CaptureError("it has become shorter meanwhile")
        target.write(data)
        left -= len(data)


def _repairable(file: BinaryIO) -> tuple[str, Callable[[BinaryIO], Iterator[Span]]]:
    """Return the name of a file's format, and how to find its spans."""
    found = format_of(file.read(HEAD_SIZE))
    if found.spans is None:
        raise CaptureError(f"files of the format {found.name} cannot be repaired")
    return found.name, found.spans
