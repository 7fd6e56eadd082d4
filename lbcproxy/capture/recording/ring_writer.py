"""Rings into files of their own; one that no disk takes is kept, and tried again.

A ring is written because something has happened, so it is not given up for a disk that is full at
that moment: the newest of it that fits is written at once, as a file that is whole, and replaced
by all of it when there is room.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from lbcproxy.background import Background
from lbcproxy.capture.recording.file import RETRY, CaptureFile, Told
from lbcproxy.capture.recording.loss import Loss
from lbcproxy.private import OWNER, Access

__all__ = ["Dump", "RingWriter"]

MAX_WAITING = 32 << 20
"""Bytes of rings that may wait for a disk; of more the oldest are given up."""


class Dump(Protocol):
    """A ring as it was when it was to be written."""

    @property
    def title(self) -> str:
        """Of which session it is, and why it is written."""

    @property
    def path(self) -> str:
        """The name of its file, unless that is taken."""

    @property
    def held(self) -> int:
        """Bytes of memory."""

    @property
    def count(self) -> int:
        """How many steps it has, each a read or an event."""

    @property
    def lacks(self) -> Loss:
        """What it should hold and does not."""

    def blocks(self, skipped: int) -> tuple[list[bytes], int]:
        """Return the blocks of a whole file without its first steps, and how many messages."""


class _Waiting:
    """A dump that is not on the disk, or not all of it."""

    def __init__(self, dump: Dump) -> None:
        self.dump = dump
        self.part: CaptureFile | None = None
        """The file that has some of it."""
        self.loss = Loss()
        """What is not on the disk."""


class RingWriter:
    """Writes dumps, in the writing thread; `clock` gives seconds."""

    def __init__(
        self,
        disk: Background,
        told: Told,
        closed: Callable[[CaptureFile], object],
        clock: Callable[[], float] = time.monotonic,
        access: Access = OWNER,
        trusted: Path | None = None,
    ) -> None:
        self._access = access
        self._trusted = trusted
        self._disk = disk
        self._told = told
        self._closed = closed
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._retry_at = 0.0
        self._given_up = Loss()

    @property
    def lost(self) -> Loss:
        """What is not on the disk now."""
        total = Loss()
        total += self._given_up
        for each in tuple(self._waiting):
            total += each.loss
        return total

    @property
    def is_waiting(self) -> bool:
        """Whether something is to be tried again."""
        return bool(self._waiting)

    def write(self, dump: Dump) -> None:
        """Write a dump, or what of it fits; the rest waits."""
        self._given_up += dump.lacks
        waiting = _Waiting(dump)
        if self._write_whole(waiting):
            return
        if not self._waiting:
            self._retry_at = self._clock() + RETRY
        self._waiting.append(waiting)
        while sum(each.dump.held for each in self._waiting) > MAX_WAITING:
            self._give_up(self._waiting.pop(0))

    def retry(self, *, now: bool = False) -> None:
        """Write what waits, if it is time; once one cannot be written the others wait too."""
        if not self._waiting or not (now or self._clock() >= self._retry_at):
            return
        self._retry_at = self._clock() + RETRY
        for waiting in tuple(self._waiting):
            if not self._write_whole(waiting, again=True):
                return
            self._waiting.remove(waiting)

    def finish(self) -> None:
        """Try a last time; what is not on the disk then is lost."""
        self.retry(now=True)
        for waiting in self._waiting:
            self._give_up(waiting)
        self._waiting.clear()

    def _give_up(self, waiting: _Waiting) -> None:
        self._given_up += waiting.loss
        self._told(f"{waiting.dump.title}: its ring is given up: {waiting.loss}", True)

    def _write_whole(self, waiting: _Waiting, *, again: bool = False) -> bool:
        dump = waiting.dump
        parts, messages = dump.blocks(0)
        try:
            file = self._write(dump, parts, waiting.part)
        except _Failed as error:
            if not again:
                waiting.loss = Loss(messages, sum(map(len, parts)))
                text = self._write_what_fits(waiting, messages, error.room)
                self._told(
                    f"{dump.title}: writing its ring to {dump.path} fails: {error}; {text}", True
                )
            return False
        self._told(f"{dump.title}, its last {messages:,} messages are in {file.path}", False)
        return True

    def _write_what_fits(self, waiting: _Waiting, messages: int, room: int) -> str:
        """Write the newest steps that fit; return what became of it."""
        dump = waiting.dump
        while room > 0:
            skipped = _fewest_skipped(dump, room)
            if skipped is None:
                break
            parts, kept = dump.blocks(skipped)
            missing = Loss(messages - kept, max(0, waiting.loss.size - sum(map(len, parts))))
            try:
                waiting.part = self._write(dump, [*parts, missing.block()], None)
            except _Failed as error:
                room = min(room // 2, error.room)
                continue
            waiting.loss = missing
            return f"{waiting.part.path} has the last {kept:,} of its {messages:,} messages so far"
        return f"it is kept, and tried again every {RETRY:g} s"

    def _write(self, dump: Dump, parts: Sequence[bytes], before: CaptureFile | None) -> CaptureFile:
        """Write a file that is whole, in place of one that was not; raises _Failed."""
        file = CaptureFile(
            dump.path,
            self._disk,
            self._told,
            fresh=True,
            closed=self._closed,
            access=self._access,
            trusted=self._trusted,
        )
        lacks = dump.lacks.block()
        try:
            file.open()
            file.write_whole([*parts, lacks] if lacks else parts)
            if before is not None:
                Path(file.path).replace(before.path)
                file.path = before.path
        except Exception as error:
            with suppress(OSError):
                file.abandon()
            raise _Failed(error, file.room) from error
        file.close()
        return file


class _Failed(Exception):
    """A file could not be written."""

    def __init__(self, error: Exception, room: int) -> None:
        super().__init__(getattr(error, "strerror", None) or str(error))
        self.room = room


def _fewest_skipped(dump: Dump, room: int) -> int | None:
    """Return how many of the first steps must go for the rest to fit; None if none can stay."""
    reserved = len(Loss(1 << 62, 1 << 62).block()) + len(dump.lacks.block())
    low, high = 1, dump.count
    while low < high:
        middle = (low + high) // 2
        parts, _ = dump.blocks(middle)
        if sum(map(len, parts)) + reserved <= room:
            high = middle
        else:
            low = middle + 1
    return low if low < dump.count else None
