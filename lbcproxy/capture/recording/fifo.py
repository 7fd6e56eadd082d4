"""A named pipe (FIFO) that is recorded into: opened without waiting for its reader."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from typing import BinaryIO, cast

__all__ = ["Fifo", "open_fifo"]


def open_fifo(path: str) -> BinaryIO | None:
    """Open a named pipe for writing; return None if it has no reader yet."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise
    os.set_blocking(descriptor, True)
    return cast("BinaryIO", os.fdopen(descriptor, "wb", buffering=0))


class Fifo:
    """A named pipe that waits for a reader, and the bytes held until then.

    Args:
        path: The pipe.
        max_size: How many bytes to hold.
        on_opened: Called once, in another thread, with the open pipe or with the error.
    """

    def __init__(
        self, path: str, max_size: int, on_opened: Callable[[BinaryIO | OSError], object]
    ) -> None:
        self.parts: list[bytes] = []
        self.messages = 0
        self.is_abandoned = False
        """Whether nothing will be written any more."""
        self._path = path
        self._max_size = max_size
        self._size = 0
        self._on_opened = on_opened
        # A daemon: the program may end while nobody reads.
        threading.Thread(target=self._wait, name=f"reader of {path}", daemon=True).start()

    def hold(self, parts: list[bytes], messages: int) -> bool:
        """Hold bytes for the reader; return False if there is no room for them."""
        size = sum(map(len, parts))
        if self._size + size > self._max_size:
            return False
        self.parts += parts
        self.messages += messages
        self._size += size
        return True

    def _wait(self) -> None:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            self._on_opened(error)
            return
        if self.is_abandoned:
            os.close(descriptor)
            return
        self._on_opened(cast("BinaryIO", os.fdopen(descriptor, "wb", buffering=0)))
