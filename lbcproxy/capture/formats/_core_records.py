"""The records of one of Bitcoin Core's capture files, damaged ones too.

A record is a time, a type, a length and a payload, one after the other without any mark. So a
header is believed if what follows its payload is one as well, or the end of the file. After damage
reading goes on at the next header that makes sense.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import msgspec

from lbcproxy.errors import CaptureError
from lbcproxy.wire.envelope import command_problem
from lbcproxy.wire.rules import MAX_PAYLOAD

__all__ = ["HEADER", "LATEST", "Record", "RecordReader", "Unreadable"]

HEADER = struct.Struct("<Q12sI")
LATEST = 1 << 53
"""Microseconds, in the year 2255: later is no time."""
_NEAR = 30 * 86_400 * 1_000_000
"""Microseconds between neighbours, where the time is all there is to know a header by."""
_CHUNK = 1 << 20
_PIECE = 1 << 16


class Record(msgspec.Struct, frozen=True, gc=False):
    """One message; its type is what the file has, padding and all."""

    time_ns: int
    raw_command: bytes
    payload: bytes

    @property
    def command(self) -> str:
        """The type without padding; each byte a character."""
        return self.raw_command.rstrip(b"\0").decode("latin-1")

    @property
    def problem(self) -> str | None:
        """Say what is wrong with the form of the type; None if nothing is."""
        return command_problem(self.raw_command)


class Unreadable(msgspec.Struct, frozen=True, gc=False):
    """Bytes between records that make no sense, in pieces; the time is that of the one before."""

    time_ns: int
    raw: bytes


class _Problem(NamedTuple):
    """Why there is no record; `torn` if it may be a record that the file has not all of."""

    text: str
    torn: bool = False


def _upper(micros: int) -> bytes:
    """Return the bytes of a time that change each twelve days only."""
    return micros.to_bytes(8, "little")[5:]


class RecordReader:
    """Cuts a file into records. `damage` is what was wrong first, and where."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._buffer = bytearray()
        self._offset = 0  # of the buffer in the file
        self._last: int | None = None  # the time of the record before, in microseconds
        self.damage: CaptureError | None = None

    def __iter__(self) -> Iterator[Record | Unreadable]:
        while self._fill(1):
            problem = self._problem()
            if problem is None:
                yield self._record()
            else:
                yield from self._skip(problem)

    def _fill(self, size: int) -> bool:
        """Whether the buffer has so many bytes, read if they were not there."""
        while len(self._buffer) < size:
            data = self._file.read(max(size - len(self._buffer), _PIECE))
            if not data:
                return False
            self._buffer += data
        return True

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._offset += size
        return data

    def _record(self) -> Record:
        micros, command, length = HEADER.unpack(self._take(HEADER.size))
        if micros >= LATEST:
            self._damaged(f"no message: its time is {micros:,} microseconds", -HEADER.size)
            micros = self._last or 0
        self._last = micros
        return Record(micros * 1_000, command, self._take(length))

    def _damaged(self, what: str, at: int = 0) -> None:
        self.damage = self.damage or CaptureError(what, self._offset + at)

    def _problem(self) -> _Problem | None:
        """Tell why no record can be read where the buffer begins; None if one can."""
        if not self._fill(HEADER.size):
            return _Problem("the header of the last message is cut", torn=True)
        micros, command, length = HEADER.unpack_from(self._buffer)
        if length > MAX_PAYLOAD:
            return _Problem(f"a message of {length:,} bytes cannot be")
        end = HEADER.size + length
        if not self._fill(end):
            there = len(self._buffer) - HEADER.size
            return _Problem(f"the last message is cut: {there:,} of {length:,} bytes", torn=True)
        problem = command_problem(command)
        follows = self._may_follow(end, micros)
        if problem is None and micros < LATEST:
            # The length may be wrong all the same, or the rest was never written. Where something
            # follows, the next records may only fit by chance: their time would be in this one.
            inside = None
            if not follows or self._buffer.find(_upper(micros), HEADER.size, end) >= 0:
                inside = self._next_header(1, end)
            return None if inside is None else _Problem("a message is cut, and others follow")
        if follows and (problem is None or self._is_near(micros)):
            return None  # all but the type makes sense, or all but the time
        if problem is not None:
            return _Problem(f"no message: {problem}")
        return _Problem(f"no message: its time is {micros:,} microseconds")

    def _is_near(self, micros: int) -> bool:
        if self._last is None:
            return 0 < micros < LATEST
        return micros < LATEST and abs(micros - self._last) < _NEAR

    def _may_follow(self, place: int, micros: int) -> bool:
        """Whether there may be a record at a place in the buffer; the end of the file is fine."""
        if not self._fill(place + HEADER.size):
            return True
        following, command, length = HEADER.unpack_from(self._buffer, place)
        if length > MAX_PAYLOAD:
            return False
        if command_problem(command) is None:
            return True
        return micros < LATEST and abs(following - micros) < _NEAR

    def _next_header(self, begin: int, end: int) -> int | None:
        """Find a place in the buffer where a record begins that makes sense."""
        # The upper two bytes of a time change each nine years. A copy: the buffer may grow.
        if self._last is None:
            upper = rb"[\x00-\x1f]\x00"
        else:
            halves = {(self._last + step) >> 48 for step in (-_NEAR, 0, _NEAR)}
            known = [re.escape(half.to_bytes(2, "little")) for half in halves if half >= 0]
            upper = b"(?:" + b"|".join(known) + b")"
        pattern = re.compile(b"(?=" + upper + rb"[a-z][a-z0-9])")
        for found in pattern.finditer(bytes(self._buffer[begin:end]), 6):
            place = begin + found.start() - 6
            if not self._fill(place + HEADER.size):
                return None
            micros, command, length = HEADER.unpack_from(self._buffer, place)
            if length > MAX_PAYLOAD or command_problem(command) is not None:
                continue
            if not self._is_near(micros):
                continue
            if self._may_follow(place + HEADER.size + length, micros):
                return place
        return None

    def _skip(self, problem: _Problem) -> Iterator[Unreadable]:
        """Give what is before the next record that makes sense; the rest, if there is none."""
        begin, what = self._offset, problem.text
        time_ns = (self._last or 0) * 1_000
        place: int | None = None
        is_end = False
        while place is None and not is_end:
            is_end = not self._fill(len(self._buffer) + 1) or not self._fill(_CHUNK)
            place = self._next_header(1 if self._offset == begin else 0, len(self._buffer))
            if place is None and not is_end:
                # A header may begin in what is left, and not be whole yet.
                yield from self._pieces(len(self._buffer) - HEADER.size, time_ns)
        if place is not None:
            if self._last is None:
                time_ns = HEADER.unpack_from(self._buffer, place)[0] * 1_000
            yield from self._pieces(place, time_ns)
            what += f"; reading goes on at byte {self._offset:,}"
        elif problem.torn:
            self._take(len(self._buffer))
        else:
            yield from self._pieces(len(self._buffer), time_ns)
        self.damage = self.damage or CaptureError(what, begin)

    def _pieces(self, size: int, time_ns: int) -> Iterator[Unreadable]:
        while size > 0:
            data = self._take(min(size, _PIECE))
            size -= len(data)
            yield Unreadable(time_ns, data)
