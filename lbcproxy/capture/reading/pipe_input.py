"""Input from a pipe, with a sign whenever nothing has come for a while.

A reader holds back what later packets decide about. With a pipe, the next packet may come an hour
later, and what is held back must not wait for it. A file has no such pauses.
"""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

import msgspec

__all__ = ["IDLE_SECONDS", "Idle", "is_pipe", "with_idle"]

IDLE_SECONDS = 1.0
MAX_READ_AHEAD = 256
"""Items that are read ahead."""

T = TypeVar("T")


class Idle(msgspec.Struct, frozen=True, gc=False):
    """Nothing has come for this many seconds."""

    seconds: float


class _EndOfInput(Generic[T]):
    """Nothing more comes: the input has ended, or raised an error."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def is_pipe(path: Path) -> bool:
    """Return whether reading a file may block until somebody writes to it."""
    mode = path.stat().st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def with_idle(items: Iterator[T], seconds: float = IDLE_SECONDS) -> Iterator[T | Idle]:
    """Return items as they come, and an `Idle` each time that none has come for `seconds`.

    A thread of its own reads them. What they raise is raised here.
    """
    queue: Queue[T | _EndOfInput[T]] = Queue(MAX_READ_AHEAD)
    stopped = threading.Event()
    reader = threading.Thread(target=_read, args=(items, queue, stopped), daemon=True)
    reader.start()
    idle = 0.0
    try:
        while True:
            try:
                item = queue.get(timeout=seconds)
            except Empty:
                idle += seconds
                yield Idle(idle)
                continue
            idle = 0.0
            if isinstance(item, _EndOfInput):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stopped.set()


def _read(items: Iterator[T], queue: Queue[T | _EndOfInput[T]], stopped: threading.Event) -> None:
    error: BaseException | None = None
    try:
        for item in items:
            if not _put(queue, item, stopped):
                return
    except BaseException as raised:  # it is raised again in the consumer's thread
        error = raised
    _put(queue, _EndOfInput(error), stopped)


def _put(
    queue: Queue[T | _EndOfInput[T]], item: T | _EndOfInput[T], stopped: threading.Event
) -> bool:
    """Put an item into the queue; return False if the consumer has stopped."""
    while not stopped.is_set():
        try:
            queue.put(item, timeout=IDLE_SECONDS)
        except Full:
            continue
        return True
    return False
