"""The file that a recorder writes to."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from lbcproxy.background import Background, write_all
from lbcproxy.capture.recording.fifo import Fifo, open_fifo
from lbcproxy.capture.recording.loss import Loss, block_before
from lbcproxy.capture.recording.paths import (
    continue_file,
    is_compressed,
    open_fresh,
    standard_output,
)
from lbcproxy.deprecated import DeprecatedAttribute, renamed_parameters
from lbcproxy.errors import CaptureError
from lbcproxy.private import OWNER, Access, make_folders

__all__ = ["MAX_QUEUED", "RETRY_INTERVAL", "CaptureFile", "Notify"]


MAX_QUEUED = 64 << 20
"""Bytes that may wait for a disk or pipe by default."""
RETRY_INTERVAL = 5.0
"""Seconds until a disk that failed is tried again."""
_SPARE_ROOM = 64
"""Bytes by which the numbers in a block may grow."""

Notify = Callable[[str, bool], object]
"""Called with what happens to a recording and whether it is bad, in the thread it happens in."""


class CaptureFile:
    """A pcapng file that is written to while sessions last, in a thread of its own.

    An existing file is continued if it is a pcapng that no other process writes. What a crash left
    of its last block is cut off first. Any other existing file raises CaptureError, so that
    nothing is ever overwritten.

    What the disk does not accept, or not in time, is lost: it is counted and reported, and the
    file says how much is missing once it can be written again. A disk that fails is tried again
    every 5 s. A named pipe without a reader holds as much as may be queued.

    Args:
        path: Where to write; `-` is the standard output.
        disk: Writes to the file, in its own thread.
        notify: Called with what happens to the file.
        fresh: Leave alone whatever has the name, a symbolic link too, and take the next free one:
            `x-2.pcapng`. The name of a file that was compressed is not free either.
        clock: Returns seconds.
        on_closed: Called in the writing thread once nothing more will be written.
        access: Who may read new files and folders.
        trusted: A folder below which a fresh file follows no symbolic link to a folder.
    """

    abandon = DeprecatedAttribute("discard")
    cut = DeprecatedAttribute("tail_size")
    miss = DeprecatedAttribute("add_loss")
    moved = DeprecatedAttribute("is_moved")
    size = DeprecatedAttribute("initial_size")
    write_whole = DeprecatedAttribute("write_at_once")
    written_ns = DeprecatedAttribute("last_written_ns")

    @renamed_parameters(told="notify", closed="on_closed")
    def __init__(
        self,
        path: str,
        disk: Background,
        notify: Notify,
        *,
        fresh: bool = False,
        clock: Callable[[], float] = time.monotonic,
        on_closed: Callable[[CaptureFile], object] = bool,
        access: Access = OWNER,
        trusted: Path | None = None,
    ) -> None:
        self.path = path
        self._access = access
        self._trusted = trusted
        self.tail_size = 0
        """How many bytes of a torn tail were cut off."""
        self.continued = False
        """Whether the file had content before."""
        self.initial_size = 0
        """How many bytes that content has."""
        self.last_written_ns = 0
        """When that content was last written: nanoseconds since 1970."""
        self.messages = 0
        """How many messages the next write holds: they are counted if it is lost."""
        self.lost = Loss()
        """Everything that could not be recorded."""
        self.room = 0
        """How many bytes the disk accepted of the last write that failed."""
        self._disk = disk
        self._notify = notify
        self._fresh = fresh
        self._clock = clock
        self._on_closed = on_closed
        self._head = b""
        self._has_written = False
        self._file: BinaryIO | None = None
        self._fifo: Fifo | None = None  # while it waits for a reader
        self._is_regular = False
        self._lock = threading.Lock()
        self._unreported = Loss()  # lost, and the file does not say so yet
        self._is_overrun = False  # whether too much is queued
        self._skipped = Loss()  # lost for that reason
        self._retry_at: float | None = None
        self._closed = False
        self.is_done = False
        """Whether it is closed and nothing of it is queued."""

    @property
    def name(self) -> str:
        """The path, as messages call it."""
        return "the standard output" if self.path == "-" else self.path

    @property
    def failing(self) -> bool:
        """Whether the latest bytes are lost."""
        return self._is_overrun or self._retry_at is not None

    @property
    def is_moved(self) -> bool:
        """Whether the file at the path, if any, is not the one that is being written."""
        if self._file is None or not self._is_regular:
            return False
        try:
            return not os.path.samestat(Path(self.path).stat(), os.fstat(self._file.fileno()))
        except OSError:
            return True

    def open(self) -> CaptureFile:
        """Open the file now, not at the first write; raises CaptureError."""
        if self._file is not None or self._fifo is not None:
            return self
        try:
            if not self._fresh and self.path != "-" and Path(self.path).is_fifo():
                self._open_fifo()
            else:
                self._file = standard_output() if self.path == "-" else self._open_path()
        except OSError as error:
            # FileExistsError means that a file is where a folder should be made.
            reason = (
                "its folder is a file" if isinstance(error, FileExistsError) else error.strerror
            )
            raise CaptureError(f"cannot write {self.path}: {reason}") from error
        opened = self._file
        self._is_regular = opened is not None and stat.S_ISREG(os.fstat(opened.fileno()).st_mode)
        return self

    def write(self, data: bytes) -> None:
        """Queue some complete blocks; never waits. The first ones are the start of the file."""
        messages, self.messages = self.messages, 0
        if not self._head:
            self._head, data = data, b""
        if self._is_overrun and self._disk.size > self._disk.most // 2:
            self._skip(messages, data)
        elif self._closed:
            self._lose(messages, [data])
        elif not self._disk.put(self, self._skipped.block(self.lost.messages) + data, messages):
            self._skip(messages, data)
            if not self._is_overrun:
                queued = f"{self._disk.most >> 20} MiB wait to be written"
                self._notify(f"recording into {self.name} fails: {queued}", True)
            self._is_overrun = True
        elif self._is_overrun:
            self._is_overrun, skipped = False, self._skipped
            self._skipped = Loss()
            self._notify(f"recording into {self.name} goes on: {skipped}", True)

    def add_loss(self, messages: int, size: int) -> None:
        """Count what never got to `write`; the file says so after everything queued."""
        lost = Loss(messages, size)
        with self._lock:
            self._unreported += lost
            self.lost += lost

    def close(self) -> None:
        """Close the file after everything queued; the standard output stays open."""
        if not self._closed:
            self._closed = True
            self._disk.call(self._close)

    # In the writing thread.

    def write_out(self, parts: list[bytes], count: int) -> None:
        """Write blocks. If that fails, partly written ones are removed, and all are counted."""
        if self._retry_at is not None and self._clock() < self._retry_at:
            self._lose(count, parts)
            return
        with self._lock:
            unreported, self._unreported = self._unreported, Loss()
        try:
            self.open()
            if self._fifo is not None:
                self._hold(self._fifo, unreported, parts, count)
                return
            head = b"" if self._has_written else self._head
            self._write_all([head + unreported.block(self.lost.messages), *parts])
        except Exception as error:  # whatever fails must not cost other files
            with self._lock:
                self._unreported += unreported
            if isinstance(error, BrokenPipeError) and self._is_fifo():
                self._close_fifo()
                self.write_out(parts, count)  # to its next reader
                return
            self._lose(count, parts)
            self._notify_lost(getattr(error, "strerror", None) or str(error))
            self._remove_if_empty()
            self._retry_at = self._clock() + RETRY_INTERVAL if self._may_recover() else float("inf")
            return
        self._retry_at, self._has_written = None, True
        if unreported:
            self._notify(
                f"recording into {self.name} {'goes on' if parts else 'ends'}: {unreported}", True
            )

    def write_at_once(self, parts: Sequence[bytes]) -> None:
        """Write all of an opened file; raises OSError, and then `room` says how much fitted."""
        self._write_all(parts)
        self._has_written = True

    def discard(self) -> None:
        """Remove a new file that could not be written."""
        self._remove_if_empty()
        if self._file is not None:
            self._file.close()

    def _close(self) -> None:
        with self._lock:
            self._unreported += self._skipped
        if self._fifo is not None:
            self._lose_held(self._fifo, "nobody has read it")
        elif self._unreported and self._may_recover():
            self._retry_at = None
            self.write_out([], 0)
            if self._unreported and self._has_written and self._is_regular:
                self._make_room_for_loss()
        try:
            if self._file is not None:
                self._file.close()
        except OSError as error:  # as on a network file system
            self._notify(f"recording into {self.name} fails at its end: {error.strerror}", True)
        finally:
            self.is_done = True
            self._on_closed(self)

    def _make_room_for_loss(self) -> None:
        """Replace the last packets by the block that says what is missing: there is no other room.

        A missing packet is bad. A file that does not say that half of it is missing is worse.
        """
        assert self._file is not None
        with suppress(OSError), Path(self.path).open("rb") as reading:
            size = os.fstat(self._file.fileno()).st_size
            cut, needed = size, len(self._unreported.block()) + _SPARE_ROOM
            while size - cut < needed:
                before = block_before(reading, cut)
                if before is None or before <= self.initial_size + len(self._head):
                    return
                cut = before
            os.ftruncate(self._file.fileno(), cut)
            self._lose(0, [bytes(size - cut)])
            self._retry_at = None
            self.write_out([], 0)

    def _open_fifo(self) -> None:
        """Open a named pipe if it has a reader; otherwise wait for one."""
        self._file = open_fifo(self.path)
        if self._file is None:
            self._notify(f"recording: waiting for a reader of {self.name}", False)
            self._fifo = Fifo(
                self.path,
                self._disk.most,
                lambda opened: self._disk.call(lambda: self._on_reader(opened)),
            )

    def _is_fifo(self) -> bool:
        if self.path == "-" or self._file is None:
            return False
        return stat.S_ISFIFO(os.fstat(self._file.fileno()).st_mode)

    def _close_fifo(self) -> None:
        """Close a named pipe whose reader has left; the next one gets the start of the file."""
        assert self._file is not None
        self._file.close()
        self._file, self._has_written = None, False
        self._notify(f"recording: the reader of {self.name} has left", False)

    def _hold(self, fifo: Fifo, unreported: Loss, parts: list[bytes], count: int) -> None:
        if not fifo.hold([unreported.block(self.lost.messages), *parts], count):
            with self._lock:
                self._unreported += unreported
            self._lose(count, parts)
            self._notify_lost(f"nobody reads it, and {self._disk.most >> 20} MiB wait")

    def _on_reader(self, opened: BinaryIO | OSError) -> None:
        """Write what was held until a named pipe had a reader."""
        fifo, self._fifo = self._fifo, None
        if isinstance(opened, OSError):
            if fifo is not None:
                self._lose_held(fifo, opened.strerror or str(opened))
        elif fifo is None:
            opened.close()  # nothing is held any more
        else:
            self._file = opened
            self._notify(f"recording: {self.name} has a reader", False)
            with self._lock:
                unreported, self._unreported = self._unreported, Loss()
            self.write_out(fifo.parts, fifo.messages)
            with self._lock:
                self._unreported += unreported
            if unreported:
                self.write_out([b""], 0)  # what did not fit comes after what was held

    def _lose_held(self, fifo: Fifo, reason: str) -> None:
        self._fifo, fifo.is_abandoned = None, True
        self._lose(fifo.messages, fifo.parts)
        if self._unreported:
            self._notify_lost(reason)

    def _remove_if_empty(self) -> None:
        """Remove a new file that nothing could be written to."""
        if self._file is not None and self._fresh and self._is_regular and not self._has_written:
            with suppress(OSError):
                if not os.fstat(self._file.fileno()).st_size:
                    Path(self.path).unlink()
                    self._file.close()
                    self._file = None

    def _may_recover(self) -> bool:
        return self._file is None or self._is_regular

    def _write_all(self, parts: Sequence[bytes]) -> None:
        assert self._file is not None
        before = os.fstat(self._file.fileno()).st_size
        try:
            write_all(self._file.fileno(), parts)
        except BaseException:
            self.room = os.fstat(self._file.fileno()).st_size - before
            if self._is_regular:
                os.ftruncate(self._file.fileno(), before)
            raise

    # In either thread.

    def _lose(self, messages: int, parts: Sequence[bytes]) -> None:
        lost = Loss(messages, sum(map(len, parts)))
        with self._lock:
            self._unreported += lost
            self.lost += lost

    def _skip(self, messages: int, data: bytes) -> None:
        lost = Loss(messages, len(data))
        self._skipped += lost
        with self._lock:
            self.lost += lost

    def _notify_lost(self, reason: str) -> None:
        """Notify of the first loss, until writing succeeds again."""
        with self._lock:
            first, self._unreported.is_notified = not self._unreported.is_notified, True
        if first:
            self._notify(f"recording into {self.name} fails: {reason}", True)

    def _open_path(self) -> BinaryIO:
        base = Path(self.path)
        make_folders(base.parent, self._access, trusted=self._trusted if self._fresh else None)
        if not self._fresh and not is_compressed(base):
            found = continue_file(base, self._access)
            self.tail_size, self.continued = found.tail_size, found.size > 0
            self.initial_size, self.last_written_ns = found.size, found.last_written_ns
            return found.file
        file, path = open_fresh(base, self._access)
        self.path = str(path)
        return file
