"""The file a recorder writes to, and what it is called."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

from lbcproxy.background import Background, write_all
from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.recording.fifo import Fifo, open_fifo
from lbcproxy.capture.recording.lock import take
from lbcproxy.capture.recording.loss import Loss, block_before
from lbcproxy.capture.recording.paths import is_compressed, open_fresh, standard_output
from lbcproxy.capture.spans import intact_length
from lbcproxy.errors import CaptureError
from lbcproxy.private import OWNER, Access, make_folders, open_to_append

__all__ = ["MOST_WAITING", "CaptureFile", "Told"]


MOST_WAITING = 64 << 20
"""Bytes that may wait for a disk or pipe, unless said otherwise."""
ROOM_TO_SPARE = 64
"""Bytes by which the numbers in a block may grow."""
RETRY = 5.0
"""Seconds until a disk that failed is tried again."""

Told = Callable[[str, bool], object]
"""Is told what happens to a recording, and whether it is bad; in whatever thread it happens."""


class CaptureFile:
    """A pcapng file that is written to as things happen, by `disk`, in a thread of its own.

    A file that exists is continued if it is a pcapng that nobody else writes, after what a crash
    left of its last block is cut off; any other raises CaptureError, so that nothing is ever
    written over. With `fresh` whatever has the name is left alone, a symbolic link too, and the
    next free name taken: `x-2.pcapng`. A name whose file was compressed is not free either. Below
    a `trusted` folder a fresh file follows no link to a folder. New files and folders are for whom
    `access` says. `-` is the standard output. `closed` is told when
    nothing more will be written, in the writing thread.

    What the disk does not take, or takes too late, is lost, counted and told; a disk is tried
    again every 5 s. Behind the loss the file says how much is missing. For a named pipe without a
    reader as much is held as may wait.
    """

    def __init__(
        self,
        path: str,
        disk: Background,
        told: Told,
        *,
        fresh: bool = False,
        clock: Callable[[], float] = time.monotonic,
        closed: Callable[[CaptureFile], object] = bool,
        access: Access = OWNER,
        trusted: Path | None = None,
    ) -> None:
        self.path = path
        self._access = access
        self._trusted = trusted
        self.cut = 0
        """Bytes of a torn tail that were cut off."""
        self.continued = False
        """Whether there was something in the file before."""
        self.size = 0
        """How many bytes that was."""
        self.written_ns = 0
        """When that was written last: nanoseconds since 1970."""
        self.messages = 0
        """How many messages the next write holds: counted if it is lost."""
        self.lost = Loss()
        """What could not be recorded in all."""
        self.room = 0
        """How many bytes the disk took of the write that failed last."""
        self._disk = disk
        self._told = told
        self._fresh = fresh
        self._clock = clock
        self._tell_closed = closed
        self._head = b""
        self._begun = False
        self._file: BinaryIO | None = None
        self._fifo: Fifo | None = None  # while it waits for a reader
        self._regular = False
        self._lock = threading.Lock()
        self._missing = Loss()  # what is lost that the file does not say yet
        self._overrun = False
        self._skipped = Loss()  # what is lost since too much waits
        self._retry_at: float | None = None
        self._closed = False
        self.is_done = False
        """Whether it is closed and nothing of it waits."""

    @property
    def name(self) -> str:
        """The path in words."""
        return "the standard output" if self.path == "-" else self.path

    @property
    def failing(self) -> bool:
        """Whether what came last is lost."""
        return self._overrun or self._retry_at is not None

    @property
    def moved(self) -> bool:
        """Whether what lies at the path, if anything, is not the file that is written."""
        if self._file is None or not self._regular:
            return False
        try:
            return not os.path.samestat(Path(self.path).stat(), os.fstat(self._file.fileno()))
        except OSError:
            return True

    def open(self) -> CaptureFile:
        """Open it now, where the first write would; raises CaptureError."""
        if self._file is not None or self._fifo is not None:
            return self
        try:
            if not self._fresh and self.path != "-" and Path(self.path).is_fifo():
                self._open_fifo()
            else:
                self._file = standard_output() if self.path == "-" else self._open_path()
        except OSError as error:
            # What exists where a folder was to be made; a file that exists is no error here.
            why = "its folder is a file" if isinstance(error, FileExistsError) else error.strerror
            raise CaptureError(f"cannot write {self.path}: {why}") from error
        opened = self._file
        self._regular = opened is not None and stat.S_ISREG(os.fstat(opened.fileno()).st_mode)
        return self

    def write(self, data: bytes) -> None:
        """Have a number of whole blocks written; never waits. The first begin the file."""
        messages, self.messages = self.messages, 0
        if not self._head:
            self._head, data = data, b""
        if self._overrun and self._disk.size > self._disk.most // 2:
            self._skip(messages, data)
        elif self._closed:
            self._lose(messages, [data])
        elif not self._disk.put(self, self._skipped.block(self.lost.messages) + data, messages):
            self._skip(messages, data)
            if not self._overrun:
                waits = f"{self._disk.most >> 20} MiB wait to be written"
                self._told(f"recording into {self.name} fails: {waits}", True)
            self._overrun = True
        elif self._overrun:
            self._overrun, skipped = False, self._skipped
            self._skipped = Loss()
            self._told(f"recording into {self.name} goes on: {skipped}", True)

    def miss(self, messages: int, size: int) -> None:
        """Count what was never given to be written; the file says it behind what waits."""
        lost = Loss(messages, size)
        with self._lock:
            self._missing += lost
            self.lost += lost

    def close(self) -> None:
        """Close it behind what waits to be written; standard output stays open."""
        if not self._closed:
            self._closed = True
            self._disk.call(self._close)

    # In the writing thread.

    def write_out(self, parts: list[bytes], count: int) -> None:
        """Write; what cannot be written whole is taken back and counted."""
        if self._retry_at is not None and self._clock() < self._retry_at:
            self._lose(count, parts)
            return
        with self._lock:
            missing, self._missing = self._missing, Loss()
        try:
            self.open()
            if self._fifo is not None:
                self._hold(self._fifo, missing, parts, count)
                return
            head = b"" if self._begun else self._head
            self._write_all([head + missing.block(self.lost.messages), *parts])
        except Exception as error:  # a file fails in many ways; none may cost the others
            with self._lock:
                self._missing += missing
            self._lose(count, parts)
            self._say_lost(getattr(error, "strerror", None) or str(error))
            self._leave_nothing()
            self._retry_at = self._clock() + RETRY if self._may_recover() else float("inf")
            return
        self._retry_at, self._begun = None, True
        if missing:
            self._told(
                f"recording into {self.name} {'goes on' if parts else 'ends'}: {missing}", True
            )

    def write_whole(self, parts: Sequence[bytes]) -> None:
        """Write a file that is opened in one go; raises OSError, and `room` says what fitted."""
        self._write_all(parts)
        self._begun = True

    def abandon(self) -> None:
        """Remove a new file that could not be written."""
        self._leave_nothing()
        if self._file is not None:
            self._file.close()

    def _close(self) -> None:
        with self._lock:
            self._missing += self._skipped
        if self._fifo is not None:
            self._give_up(self._fifo, "nobody has read it")
        elif self._missing and self._may_recover():
            self._retry_at = None
            self.write_out([], 0)
            if self._missing and self._begun and self._regular:
                self._say_at_the_end()
        try:
            if self._file is not None:
                self._file.close()
        except OSError as error:  # where the disk is a network's
            self._told(f"recording into {self.name} fails at its end: {error.strerror}", True)
        finally:
            self.is_done = True
            self._tell_closed(self)

    def _say_at_the_end(self) -> None:
        """Have the file say what it lacks in place of its last packets, if there is no other room.

        A packet less is bad; a file that does not tell that half of it is missing is worse.
        """
        assert self._file is not None
        with suppress(OSError), Path(self.path).open("rb") as reading:
            size = os.fstat(self._file.fileno()).st_size
            cut, needed = size, len(self._missing.block()) + ROOM_TO_SPARE
            while size - cut < needed:
                before = block_before(reading, cut)
                if before is None or before <= self.size + len(self._head):
                    return
                cut = before
            os.ftruncate(self._file.fileno(), cut)
            self._lose(0, [bytes(size - cut)])
            self._retry_at = None
            self.write_out([], 0)

    def _open_fifo(self) -> None:
        """Open a named pipe, if it has a reader; else wait for one."""
        self._file = open_fifo(self.path)
        if self._file is None:
            self._told(f"recording: waiting for a reader of {self.name}", False)
            self._fifo = Fifo(
                self.path,
                self._disk.most,
                lambda opened: self._disk.call(lambda: self._reader_came(opened)),
            )

    def _hold(self, fifo: Fifo, missing: Loss, parts: list[bytes], count: int) -> None:
        if not fifo.hold([missing.block(self.lost.messages), *parts], count):
            with self._lock:
                self._missing += missing
            self._lose(count, parts)
            self._say_lost(f"nobody reads it, and {self._disk.most >> 20} MiB wait")

    def _reader_came(self, opened: BinaryIO | OSError) -> None:
        """Write what is held for the reader of a named pipe."""
        fifo, self._fifo = self._fifo, None
        if isinstance(opened, OSError):
            if fifo is not None:
                self._give_up(fifo, opened.strerror or str(opened))
        elif fifo is None:
            opened.close()  # too late
        else:
            self._file = opened
            self._told(f"recording: {self.name} has a reader", False)
            with self._lock:
                missing, self._missing = self._missing, Loss()
            self.write_out(fifo.parts, fifo.messages)
            with self._lock:
                self._missing += missing
            if missing:
                self.write_out([b""], 0)  # what found no room comes after what is held

    def _give_up(self, fifo: Fifo, why: str) -> None:
        self._fifo, fifo.given_up = None, True
        self._lose(fifo.messages, fifo.parts)
        if self._missing:
            self._say_lost(why)

    def _leave_nothing(self) -> None:
        """Remove a new file that nothing could be written into."""
        if self._file is not None and self._fresh and self._regular and not self._begun:
            with suppress(OSError):
                if not os.fstat(self._file.fileno()).st_size:
                    Path(self.path).unlink()
                    self._file.close()
                    self._file = None

    def _may_recover(self) -> bool:
        return self._file is None or self._regular

    def _write_all(self, parts: Sequence[bytes]) -> None:
        assert self._file is not None
        before = os.fstat(self._file.fileno()).st_size
        try:
            write_all(self._file.fileno(), parts)
        except BaseException:
            self.room = os.fstat(self._file.fileno()).st_size - before
            if self._regular:
                os.ftruncate(self._file.fileno(), before)
            raise

    # In either.

    def _lose(self, messages: int, parts: Sequence[bytes]) -> None:
        lost = Loss(messages, sum(map(len, parts)))
        with self._lock:
            self._missing += lost
            self.lost += lost

    def _skip(self, messages: int, data: bytes) -> None:
        lost = Loss(messages, len(data))
        self._skipped += lost
        with self._lock:
            self.lost += lost

    def _say_lost(self, why: str) -> None:
        """Say it once, until it goes on."""
        with self._lock:
            first, self._missing.said = not self._missing.said, True
        if first:
            self._told(f"recording into {self.name} fails: {why}", True)

    def _open_path(self) -> BinaryIO:
        base = Path(self.path)
        make_folders(base.parent, self._access, trusted=self._trusted if self._fresh else None)
        if not self._fresh and not is_compressed(base):
            return self._continue(base)
        file, path = open_fresh(base, self._access)
        self.path = str(path)
        return file

    def _continue(self, path: Path) -> BinaryIO:
        if path.exists() and not path.is_file():
            return cast("BinaryIO", path.open("ab", buffering=0))  # a pipe, as /dev/fd/5
        file = open_to_append(path, self._access)
        try:
            if not take(file.fileno()):
                raise CaptureError(f"{path} is being written by another process")
            self._repair(file, path)
        except BaseException:
            file.close()
            raise
        return file

    def _repair(self, file: BinaryIO, path: Path) -> None:
        size = os.fstat(file.fileno()).st_size
        if not size:
            return
        with path.open("rb") as reading:
            if not pcapng.matches(reading.read(32)):
                raise CaptureError(f"{path} exists and is no pcapng: it is not written over")
            reading.seek(0)
            try:
                whole = intact_length(pcapng.spans(reading))
            except CaptureError as error:
                raise CaptureError(f"{path} is not continued: {error}") from error
        self.cut = size - whole
        self.continued = whole > 0
        self.size = whole
        self.written_ns = os.fstat(file.fileno()).st_mtime_ns
        os.ftruncate(file.fileno(), whole)
