"""The records of one of Bitcoin Core's capture files, damaged ones too.

A record is a time, a command, a length and a payload, one after the other without any marker. So a
header is believed if another one follows its payload, or the end of the file. After damage,
reading resumes at the next plausible header.
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

__all__ = ["HEADER", "TIME_LIMIT", "CapturedMessage", "RecordReader", "Unreadable"]

HEADER = struct.Struct("<Q12sI")
TIME_LIMIT = 1 << 53
"""Microseconds, in the year 2255. Anything from here on is not a time."""
_MAX_TIME_APART = 30 * 86_400 * 1_000_000
"""Microseconds between two records, where only the time makes a header plausible."""
_SEARCH_CHUNK = 1 << 20
_CHUNK = 1 << 16


class CapturedMessage(msgspec.Struct, frozen=True, gc=False):
    """One message; its command is as in the file, with its padding."""

    time_ns: int
    raw_command: bytes
    payload: bytes

    @property
    def command(self) -> str:
        """The command without padding, each byte a character."""
        return self.raw_command.rstrip(b"\0").decode("latin-1")

    @property
    def problem(self) -> str | None:
        """What is wrong with the form of the command; None if nothing is."""
        return command_problem(self.raw_command)


class Unreadable(msgspec.Struct, frozen=True, gc=False):
    """Some of the bytes between records; the time is that of the record before."""

    time_ns: int
    raw: bytes


class _Problem(NamedTuple):
    """Why there is no record; `torn` if it may be a record that the file has only the start of."""

    text: str
    torn: bool = False


def _slow_bytes(micros: int) -> bytes:
    """Return the bytes of a time that change only every twelve days."""
    return micros.to_bytes(8, "little")[5:]


class RecordReader:
    """Splits a file into records. `damage` is the first thing that was wrong, and where."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._buffer = bytearray()
        self._offset = 0  # of the buffer in the file
        self._last: int | None = None  # the time of the record before, in microseconds
        self.damage: CaptureError | None = None

    def __iter__(self) -> Iterator[CapturedMessage | Unreadable]:
        while self._fill(1):
            problem = self._problem()
            if problem is None:
                yield self._record()
            else:
                yield from self._skip(problem)

    def _fill(self, size: int) -> bool:
        """Read until the buffer has some number of bytes; return whether it has."""
        while len(self._buffer) < size:
            data = self._file.read(max(size - len(self._buffer), _CHUNK))
            if not data:
                return False
            self._buffer += data
        return True

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._offset += size
        return data

    def _record(self) -> CapturedMessage:
        micros, command, length = HEADER.unpack(self._take(HEADER.size))
        if micros >= TIME_LIMIT:
            self._set_damage(f"not a message: its time is {micros:,} microseconds", -HEADER.size)
            micros = self._last or 0
        self._last = micros
        return CapturedMessage(micros * 1_000, command, self._take(length))

    def _set_damage(self, what: str, distance: int = 0) -> None:
        self.damage = self.damage or CaptureError(what, self._offset + distance)

    def _problem(self) -> _Problem | None:
        """Return why no record can be read at the start of the buffer; None if one can."""
        if not self._fill(HEADER.size):
            return _Problem("the header of the last message is cut", torn=True)
        micros, command, length = HEADER.unpack_from(self._buffer)
        if length > MAX_PAYLOAD:
            return _Problem(f"a message cannot have {length:,} bytes")
        end = HEADER.size + length
        if not self._fill(end):
            there = len(self._buffer) - HEADER.size
            return _Problem(f"the last message is cut: {there:,} of {length:,} bytes", torn=True)
        problem = command_problem(command)
        follows = self._may_follow(end, micros)
        if problem is None and micros < TIME_LIMIT:
            # The length may be wrong anyway, or the rest was never written. If something
            # follows, the next records may fit only by chance: then this payload has their time.
            inside = None
            if not follows or self._buffer.find(_slow_bytes(micros), HEADER.size, end) >= 0:
                inside = self._next_header(1, end)
            return None if inside is None else _Problem("a message is cut, and others follow")
        if follows and (problem is None or self._is_near(micros)):
            return None  # everything but the command is plausible, or everything but the time
        if problem is not None:
            return _Problem(f"not a message: {problem}")
        return _Problem(f"not a message: its time is {micros:,} microseconds")

    def _is_near(self, micros: int) -> bool:
        if self._last is None:
            return 0 < micros < TIME_LIMIT
        return micros < TIME_LIMIT and abs(micros - self._last) < _MAX_TIME_APART

    def _may_follow(self, index: int, micros: int) -> bool:
        """Return whether a record may begin at an index of the buffer, or the file ends there."""
        if not self._fill(index + HEADER.size):
            return True
        following, command, length = HEADER.unpack_from(self._buffer, index)
        if length > MAX_PAYLOAD:
            return False
        if command_problem(command) is None:
            return True
        return micros < TIME_LIMIT and abs(following - micros) < _MAX_TIME_APART

    def _next_header(self, begin: int, end: int) -> int | None:
        """Return the index in the buffer of the next plausible header; None if there is none."""
        # The upper two bytes of a time change every nine years. A copy: the buffer may grow.
        if self._last is None:
            upper = rb"[\x00-\x1f]\x00"
        else:
            steps = (-_MAX_TIME_APART, 0, _MAX_TIME_APART)
            halves = {(self._last + step) >> 48 for step in steps}
            known = [re.escape(half.to_bytes(2, "little")) for half in halves if half >= 0]
            upper = b"(?:" + b"|".join(known) + b")"
        pattern = re.compile(b"(?=" + upper + rb"[a-z][a-z0-9])")
        for match in pattern.finditer(bytes(self._buffer[begin:end]), 6):
            index = begin + match.start() - 6
            if not self._fill(index + HEADER.size):
                return None
            micros, command, length = HEADER.unpack_from(self._buffer, index)
            if length > MAX_PAYLOAD or command_problem(command) is not None:
                continue
            if not self._is_near(micros):
                continue
            if self._may_follow(index + HEADER.size + length, micros):
                return index
        return None

    def _skip(self, problem: _Problem) -> Iterator[Unreadable]:
        """Return the bytes before the next plausible record, or all the rest."""
        begin, what = self._offset, problem.text
        time_ns = (self._last or 0) * 1_000
        index: int | None = None
        is_end = False
        while index is None and not is_end:
            is_end = not self._fill(len(self._buffer) + 1) or not self._fill(_SEARCH_CHUNK)
            index = self._next_header(1 if self._offset == begin else 0, len(self._buffer))
            if index is None and not is_end:
                # A header may begin in the rest and be incomplete so far.
                yield from self._unreadable(len(self._buffer) - HEADER.size, time_ns)
        if index is not None:
            if self._last is None:
                time_ns = HEADER.unpack_from(self._buffer, index)[0] * 1_000
            yield from self._unreadable(index, time_ns)
            what += f"; reading resumes at byte {self._offset:,}"
        elif problem.torn:
            self._take(len(self._buffer))
        else:
            yield from self._unreadable(len(self._buffer), time_ns)
        self.damage = self.damage or CaptureError(what, begin)

    def _unreadable(self, size: int, time_ns: int) -> Iterator[Unreadable]:
        while size > 0:
            data = self._take(min(size, _CHUNK))
            size -= len(data)
            yield Unreadable(time_ns, data)
