"""Writing in a separate thread, so that a slow disk, pipe or terminal blocks nothing else."""

from __future__ import annotations

import errno
import os
import stat
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TextIO

__all__ = ["Background", "PlainOutput", "Sink", "TextOutput", "write_all"]

BATCH = 1 << 20
GATHERED = 0.005
"""Seconds for which bytes are gathered, unless a batch is full or `drain` waits."""
MAX_TEXT = 4 << 20
RETRY_INTERVAL = 1.0
"""Seconds until a write to a full disk is retried."""
MAX_PARTS = 1024
"""The maximum number of buffers of one call on Linux (IOV_MAX)."""


class Sink(Protocol):
    """The destination of bytes."""

    def write_out(self, parts: list[bytes], count: int) -> object:
        """Write bytes, in the writing thread; must handle its own errors.

        Args:
            parts: The bytes.
            count: The sum of the counts that were passed with them.
        """


class Background:
    """Queues bytes, and writes them in order, as fast as their sinks accept them.

    One thread writes in batches. When it wakes up, it first gathers bytes for 5 ms: waking it for
    each piece would cost the calling thread more than the writing. Functions can be queued too;
    they run after everything that was queued before.

    Args:
        most: The maximum number of queued bytes of all sinks together.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._waiting: deque[tuple[Sink, bytes, int] | Callable[[], object]] = deque()
        self._size = 0
        self._busy = False
        self._changed = threading.Condition()
        self._idle = True
        self._urgent = 0  # number of callers that wait for the queue to be empty
        self._thread: threading.Thread | None = None
        self._over = False

    @property
    def size(self) -> int:
        """Number of queued bytes."""
        return self._size

    def put(self, sink: Sink, data: bytes, count: int = 0) -> bool:
        """Queue bytes; return False, and drop them, if the queue is full."""
        with self._changed:
            before, after = self._size, self._size + len(data)
            if after > self.most or self._over:
                return False
            self._size = after
            self._waiting.append((sink, data, count))
            if self._idle or before < BATCH <= after:
                self._wake()
        return True

    def call(self, function: Callable[[], object]) -> None:
        """Queue a function, which runs in the writing thread after everything queued before."""
        with self._changed:
            self._waiting.append(function)
            self._wake()

    def drain(self, seconds: float) -> bool:
        """Wait until the queue is empty; return False if it is not within these seconds."""
        with self._changed:
            self._urgent += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: not (self._waiting or self._busy), seconds)
            finally:
                self._urgent -= 1

    def close(self, seconds: float) -> bool:
        """Accept nothing more, drain the queue, and end the thread."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        return self.drain(seconds)

    def _wake(self) -> None:
        self._idle = False
        if self._thread is None:
            # A daemon, so that a hanging write does not keep the program from exiting.
            self._thread = threading.Thread(target=self._run, name="background writer", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._idle = not self._waiting
                self._changed.wait_for(lambda: bool(self._waiting) or self._over)
                self._idle = False
                self._changed.wait_for(self._enough, GATHERED)
                if not self._waiting:
                    return
                self._busy = True
                batch, function = self._take()
            size = 0
            for sink, (parts, count) in batch.items():
                size += sum(map(len, parts))
                _guarded(partial(sink.write_out, parts, count))
            if function is not None:
                _guarded(function)
            with self._changed:
                self._busy = False
                self._size -= size
                self._changed.notify_all()

    def _enough(self) -> bool:
        return self._size >= BATCH or self._over or self._urgent > 0 or callable(self._waiting[-1])

    def _take(self) -> tuple[dict[Sink, tuple[list[bytes], int]], Callable[[], object] | None]:
        """Remove and return one batch: the parts of each sink, up to the next function."""
        batch: dict[Sink, tuple[list[bytes], int]] = {}
        size = 0
        while self._waiting and size < BATCH:
            item = self._waiting.popleft()
            if callable(item):
                return batch, item
            sink, data, count = item
            parts, before = batch.get(sink, ([], 0))
            parts.append(data)
            batch[sink] = parts, before + count
            size += len(data)
        return batch, None


def write_all(descriptor: int, parts: Sequence[bytes]) -> None:
    """Write parts without joining them first, which would cost more than the writing."""
    for begin in range(0, len(parts), MAX_PARTS):
        some = parts[begin : begin + MAX_PARTS]
        written = os.writev(descriptor, some)
        for part in some:
            view = memoryview(part)[written:]
            written = max(0, written - len(part))
            while view:
                view = view[os.write(descriptor, view) :]


def _guarded(function: Callable[[], object]) -> None:
    """Call a function whose exceptions must not end the thread."""
    try:
        function()
    except Exception:
        traceback.print_exc()


class TextOutput:
    """A stream for lines, written in the background; lines are lost if it cannot keep up.

    A full disk is retried, and writing continues where it stopped; a pipe without a reader is not.

    Args:
        descriptor: The file descriptor.
        encoding: The encoding of the text.
        notify: Called in the writing thread with the reason when writing fails, and when it works
            again.
        on_failed: Called when writing has failed for good.
        write: Writes to the descriptor, like `os.write`.
    """

    def __init__(
        self,
        descriptor: int,
        encoding: str,
        notify: Callable[[str], object] = bool,
        on_failed: Callable[[], object] = bool,
        write: Callable[[int, memoryview], int] = os.write,
    ) -> None:
        os.set_blocking(descriptor, True)  # it may have been inherited as non-blocking
        self._descriptor = descriptor
        self._encoding = encoding
        self._notify = notify
        self._on_failed = on_failed
        self._write = write
        self._background = Background(MAX_TEXT)
        self._regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._waiting = 0  # lines
        self._failing = False
        self._gone = False
        self.lost = 0
        """Number of lines that were not written, or only in part."""
        self.why = "nobody read them in time"
        """Why the last of them were lost."""

    def write(self, text: str) -> int:
        """Queue text, which must be complete lines."""
        data = text.encode(self._encoding, "backslashreplace")
        lines = data.count(b"\n")
        with self._lock:
            self._waiting += lines
        if self._gone or not self._background.put(self, data):
            self._lose(lines)
        return len(text)

    def flush(self) -> None:
        """Do nothing: everything is written as soon as possible."""

    def drain(self, seconds: float = 5.0) -> None:
        """Wait until everything is written, at most this long; a full disk is retried once."""
        self._ending.set()
        if not self._background.drain(seconds):
            self._gone = True
            self._lose(self._waiting)

    def write_out(self, parts: list[bytes], count: int) -> None:
        """Write parts, in the writing thread."""
        rest = memoryview(b"".join(parts))
        last_try = False
        while rest and not self._gone:
            try:
                size = self._write(self._descriptor, rest)
            except OSError as error:
                self._fails(error)
                if self._gone or last_try:
                    break
                last_try = self._ending.wait(RETRY_INTERVAL)
                continue
            if self._failing:
                self._failing = False
                self._notify("it takes lines again")
            with self._lock:
                self._waiting -= rest[:size].tobytes().count(b"\n")
            rest = rest[size:]
        self._lose(rest.tobytes().count(b"\n"))

    def _fails(self, error: OSError) -> None:
        self.why = error.strerror or str(error)
        if not self._failing:
            self._failing = True
            self._notify(self.why)
        if not (self._regular or error.errno in (errno.ENOSPC, errno.EDQUOT)):
            self._gone = True
            self._on_failed()

    def _lose(self, lines: int) -> None:
        with self._lock:
            self._waiting -= lines
            self.lost += lines


class PlainOutput:
    """Has the interface of `TextOutput`, but writes immediately."""

    lost = 0
    why = ""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text."""
        return self._stream.write(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def drain(self, seconds: float = 0.0) -> None:
        """Flush the stream."""
        self._stream.flush()
