"""Stretches of a file: what is whole, and what is damaged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

import msgspec

from lbcproxy.errors import CaptureError

__all__ = ["Stretch", "only_zeros", "whole_length"]


class Stretch(msgspec.Struct, frozen=True, gc=False):
    """A part of a file, whole or damaged; the good ones behind one another are a capture."""

    start: int
    end: int
    packets: int = 0
    """How many are in it, if it is whole."""
    damage: str | None = None
    """What is wrong where it begins; None if it is whole."""
    torn: bool = False
    """Whether it is what a crash leaves at the end: the beginning of a record, or zeros."""


def whole_length(stretches: Iterable[Stretch]) -> int:
    """How many bytes of a file are whole, where what is behind them may be cut off.

    Damage that is no torn tail raises CaptureError: something good may be behind it.
    """
    length = 0
    for each in stretches:
        if each.damage is None:
            length = each.end
        elif not each.torn:
            raise CaptureError("damaged, and not at its end", each.start)
    return length


def only_zeros(file: BinaryIO, offset: int) -> bool:
    """Whether a file has nothing but zeros from a place on."""
    file.seek(offset)
    while data := file.read(1 << 20):
        if any(data):
            return False
    return True
