"""A named pipe (FIFO) that is recorded into: opened without waiting for who is to read it."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from typing import BinaryIO, cast

__all__ = ["Fifo", "open_fifo"]


def open_fifo(path: str) -> BinaryIO | None:
    """Open a named pipe for writing; None if nobody reads it yet."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise
    os.set_blocking(descriptor, True)
    return cast("BinaryIO", os.fdopen(descriptor, "wb", buffering=0))


class Fifo:
    """A named pipe that waits for its reader, and what is held for it: `most` bytes at most.

    `opened` is called when there is a reader, with the open pipe, or with what went wrong, in a
    thread of its own.
    """

    def __init__(
        self, path: str, most: int, opened: Callable[[BinaryIO | OSError], object]
    ) -> None:
        self.parts: list[bytes] = []
        self.messages = 0
        self.given_up = False
        """Whether nobody wants to write any more."""
        self._path = path
        self._most = most
        self._size = 0
        self._opened = opened
        # A daemon: the program may end while nobody reads.
        threading.Thread(target=self._wait, name=f"reader of {path}", daemon=True).start()

    def hold(self, parts: list[bytes], messages: int) -> bool:
        """Keep bytes for the reader; False if there is no room for them."""
        size = sum(map(len, parts))
        if self._size + size > self._most:
            return False
        self.parts += parts
        self.messages += messages
        self._size += size
        return True

    def _wait(self) -> None:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            self._opened(error)
            return
        if self.given_up:
            os.close(descriptor)
            return
        self._opened(cast("BinaryIO", os.fdopen(descriptor, "wb", buffering=0)))
