"""Writing in a thread of its own, so that a slow disk, pipe or terminal stops nobody."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import TextIO

__all__ = ["Background", "PlainOutput", "TextOutput"]

BATCH = 1 << 20
MOST_TEXT = 4 << 20


class Background:
    """Takes bytes at once and writes them in order, as fast as `write` can.

    At most `most` bytes wait. `failed` is told, in the writing thread, what `write` raised; after
    that nothing more is written.
    """

    def __init__(
        self, write: Callable[[bytes], object], most: int, failed: Callable[[OSError], object]
    ) -> None:
        self._write = write
        self._most = most
        self._failed = failed
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._busy = False
        self._over = False
        self._changed = threading.Condition()
        # A daemon: one that hangs in a write must not keep the program from ending.
        threading.Thread(target=self._run, name="background writer", daemon=True).start()

    def put(self, data: bytes) -> bool:
        """Take bytes to be written; False if too many wait, or writing has failed."""
        with self._changed:
            if self._over or self._size + len(data) > self._most:
                return False
            self._waiting.append(data)
            self._size += len(data)
            self._changed.notify_all()
        return True

    def drain(self, seconds: float) -> bool:
        """Wait until all is written, so long at most; False if it is not."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._over or not (self._waiting or self._busy), seconds
            )

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                batch = self._take()
                self._busy = True
            try:
                self._write(batch)
            except OSError as error:
                self._stop()
                self._failed(error)
                return
            with self._changed:
                self._busy = False
                self._size -= len(batch)
                self._changed.notify_all()

    def _take(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while self._waiting and size < BATCH:
            parts.append(self._waiting.popleft())
            size += len(parts[-1])
        return b"".join(parts)

    def _stop(self) -> None:
        with self._changed:
            self._over = True
            self._waiting.clear()
            self._changed.notify_all()


class TextOutput:
    """A stream for lines, written in the background; lines are dropped while it cannot keep up."""

    def __init__(self, descriptor: int, encoding: str) -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        self._background = Background(self._write_all, MOST_TEXT, lambda _: None)
        self.dropped = 0
        """Writes that were let go."""

    def write(self, text: str) -> int:
        """Take text to be written."""
        data = text.encode(self._encoding, "backslashreplace")
        self.dropped += not self._background.put(data)
        return len(text)

    def flush(self) -> None:
        """Nothing: all is written as soon as it can be."""

    def drain(self, seconds: float = 5.0) -> None:
        """Wait until all is written, but not for ever."""
        self._background.drain(seconds)

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]


class PlainOutput:
    """The same for a stream that takes everything at once."""

    dropped = 0

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
