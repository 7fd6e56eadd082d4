"""Traffic first: what has passed is looked at a little later, in the order in which it came."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["DeferredInspection"]

LATER = 0.002
"""Seconds after which it is looked at."""
MOST = 65_536
"""Bytes that may wait for that; with more it is done at once."""


class DeferredInspection:
    """What all sessions have still to look at.

    A node that waits for an answer should not wait for us to frame and record its question. One
    queue for all keeps a capture in order of time. `clock` is Twisted's `IReactorTime`; without
    one nothing waits.
    """

    def __init__(self, clock: Any = None) -> None:
        self._clock = clock
        self._waiting: deque[Callable[[], object]] = deque()
        self._size = 0
        self._timer: Any = None

    def put(self, look: Callable[[], object], size: int) -> None:
        """Have so many bytes looked at."""
        self._waiting.append(look)
        self._size += size
        if self._clock is None or self._size >= MOST:
            self.catch_up()
        elif self._timer is None:
            self._timer = self._clock.callLater(LATER, self._due)

    def catch_up(self) -> None:
        """Look at all that waits: before anything else is told or asked of a session.

        The timer has nothing left to do then. It is cancelled, so that a service that has stopped
        leaves nothing in the reactor.
        """
        self._size = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            self._waiting.popleft()()

    def _due(self) -> None:
        self._timer = None
        self.catch_up()
