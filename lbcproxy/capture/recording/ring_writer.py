"""Rings are written to files of their own. One that does not fit on the disk is tried again.

A ring is written because something has happened, so a full disk must not lose it: the newest
messages that fit are written at once, as a complete file, and replaced by all of it once there is
room.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from lbcproxy.background import Background
from lbcproxy.capture.recording.file import RETRY_INTERVAL, CaptureFile, Notify
from lbcproxy.capture.recording.loss import Loss
from lbcproxy.private import OWNER, Access

__all__ = ["Dump", "RingWriter"]

MAX_WAITING = 32 << 20
"""Bytes of rings that may wait for a disk. If there are more, the oldest are dropped."""


class Dump(Protocol):
    """A ring as it was when something happened to its session."""

    @property
    def title(self) -> str:
        """The session it is of, and why it is written."""

    @property
    def path(self) -> str:
        """The path of its file, unless that is taken."""

    @property
    def buffered_bytes(self) -> int:
        """How much memory it holds."""

    @property
    def count(self) -> int:
        """How many items it has, each a read or an event."""

    @property
    def lacks(self) -> Loss:
        """What it should hold but does not."""

    def blocks(self, skipped: int) -> tuple[list[bytes], int]:
        """Return the blocks of a file without the first items, and its number of messages."""


class _UnfinishedDump:
    """A dump that is not on the disk, or only a part of it."""

    def __init__(self, dump: Dump) -> None:
        self.dump = dump
        self.part: CaptureFile | None = None
        """The file that has a part of it."""
        self.loss = Loss()
        """What is not on the disk."""


class RingWriter:
    """Writes dumps, in the writing thread.

    Args:
        disk: The writing thread.
        notify: Called with what happens to a dump.
        on_closed: Called with each file that is complete.
        clock: Returns seconds.
        access: Who may read new files and folders.
        trusted: A folder below which no symbolic link to a folder is followed.
    """

    def __init__(
        self,
        disk: Background,
        notify: Notify,
        on_closed: Callable[[CaptureFile], object],
        clock: Callable[[], float] = time.monotonic,
        access: Access = OWNER,
        trusted: Path | None = None,
    ) -> None:
        self._access = access
        self._trusted = trusted
        self._disk = disk
        self._notify = notify
        self._on_closed = on_closed
        self._clock = clock
        self._waiting: list[_UnfinishedDump] = []
        self._retry_at = 0.0
        self._dropped = Loss()

    @property
    def lost(self) -> Loss:
        """What is not on the disk at the moment."""
        total = Loss()
        total += self._dropped
        for each in tuple(self._waiting):
            total += each.loss
        return total

    @property
    def is_waiting(self) -> bool:
        """Whether a dump will be tried again."""
        return bool(self._waiting)

    def write(self, dump: Dump) -> None:
        """Write a dump, or as much of it as fits; the rest waits."""
        self._dropped += dump.lacks
        unfinished = _UnfinishedDump(dump)
        if self._write_all(unfinished):
            return
        if not self._waiting:
            self._retry_at = self._clock() + RETRY_INTERVAL
        self._waiting.append(unfinished)
        while sum(each.dump.buffered_bytes for each in self._waiting) > MAX_WAITING:
            self._drop(self._waiting.pop(0))

    def retry(self, *, now: bool = False) -> None:
        """Write what waits, if it is time; once one fails the others wait too."""
        if not self._waiting or not (now or self._clock() >= self._retry_at):
            return
        self._retry_at = self._clock() + RETRY_INTERVAL
        for waiting in tuple(self._waiting):
            if not self._write_all(waiting, again=True):
                return
            self._waiting.remove(waiting)

    def finish(self) -> None:
        """Try a last time. What is not on the disk then is lost."""
        self.retry(now=True)
        for waiting in self._waiting:
            self._drop(waiting)
        self._waiting.clear()

    def _drop(self, waiting: _UnfinishedDump) -> None:
        self._dropped += waiting.loss
        self._notify(f"{waiting.dump.title}: its ring is given up: {waiting.loss}", True)

    def _write_all(self, waiting: _UnfinishedDump, *, again: bool = False) -> bool:
        dump = waiting.dump
        parts, messages = dump.blocks(0)
        try:
            file = self._write(dump, parts, waiting.part)
        except _Failed as error:
            if not again:
                waiting.loss = Loss(messages, sum(map(len, parts)))
                text = self._write_what_fits(waiting, messages, error.room)
                self._notify(
                    f"{dump.title}: writing its ring to {dump.path} fails: {error}; {text}", True
                )
            return False
        self._notify(f"{dump.title}, its last {messages:,} messages are in {file.path}", False)
        return True

    def _write_what_fits(self, waiting: _UnfinishedDump, messages: int, room: int) -> str:
        """Write the newest items that fit; return a description of the result."""
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
        return f"it is kept, and tried again every {RETRY_INTERVAL:g} s"

    def _write(self, dump: Dump, parts: Sequence[bytes], before: CaptureFile | None) -> CaptureFile:
        """Write a complete file, in place of a partial one; raises _Failed."""
        file = CaptureFile(
            dump.path,
            self._disk,
            self._notify,
            fresh=True,
            on_closed=self._on_closed,
            access=self._access,
            trusted=self._trusted,
        )
        lacks = dump.lacks.block()
        try:
            file.open()
            file.write_at_once([*parts, lacks] if lacks else parts)
            if before is not None:
                Path(file.path).replace(before.path)
                file.path = before.path
        except Exception as error:
            with suppress(OSError):
                file.discard()
            raise _Failed(error, file.room) from error
        file.close()
        return file


class _Failed(Exception):
    """A file could not be written."""

    def __init__(self, error: Exception, room: int) -> None:
        super().__init__(getattr(error, "strerror", None) or str(error))
        self.room = room


def _fewest_skipped(dump: Dump, room: int) -> int | None:
    """Return how many of the first items to skip for the rest to fit; None if nothing fits."""
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
