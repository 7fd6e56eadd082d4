"""What comes through a pipe, with a sign where nothing has come for a while.

What a reader holds back until later packets decide on it must not wait for a packet that may come
in an hour. A file has no such pauses.
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
_MAX_WAITING = 256
"""Items that are read ahead."""

T = TypeVar("T")


class Idle(msgspec.Struct, frozen=True, gc=False):
    """Nothing has come for so many seconds."""

    seconds: float


class _End(Generic[T]):
    """Nothing more comes: the end, or an error."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def is_pipe(path: Path) -> bool:
    """Return whether reading a file may wait for whoever writes it."""
    mode = path.stat().st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def with_idle(items: Iterator[T], seconds: float = IDLE_SECONDS) -> Iterator[T | Idle]:
    """Give items as they come, and an `Idle` each time that none came for so many seconds.

    They are taken in a thread of its own; what they raise is raised here.
    """
    queue: Queue[T | _End[T]] = Queue(_MAX_WAITING)
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
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stopped.set()


def _read(items: Iterator[T], queue: Queue[T | _End[T]], stopped: threading.Event) -> None:
    error: BaseException | None = None
    try:
        for item in items:
            if not _put(queue, item, stopped):
                return
    except BaseException as raised:  # noqa: BLE001: it is raised where the items are taken
        error = raised
    _put(queue, _End(error), stopped)


def _put(queue: Queue[T | _End[T]], item: T | _End[T], stopped: threading.Event) -> bool:
    """Put an item, unless nobody takes any more."""
    while not stopped.is_set():
        try:
            queue.put(item, timeout=IDLE_SECONDS)
        except Full:
            continue
        return True
    return False
