"""Traffic first: what was forwarded is inspected a little later, in the order of its arrival."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from lbcproxy.clock import Clock, DelayedCall

__all__ = ["DeferredInspection"]

DELAY = 0.002
"""Seconds after which it is inspected."""
MAX_PENDING = 65_536
"""Bytes that may wait for that; beyond this they are inspected at once."""


class DeferredInspection:
    """What has still to be inspected, of all sessions.

    A node that waits for an answer should not have to wait until we have framed and recorded its
    question. One queue for all sessions keeps a capture in the order of time. Without a clock,
    nothing is deferred.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock
        self._pending: deque[Callable[[], object]] = deque()
        self._size = 0
        self._timer: DelayedCall | None = None

    def add(self, inspect: Callable[[], object], size: int) -> None:
        """Have `size` bytes inspected by calling `inspect`."""
        self._pending.append(inspect)
        self._size += size
        if self._clock is None or self._size >= MAX_PENDING:
            self.run_all()
        elif self._timer is None:
            self._timer = self._clock.callLater(DELAY, self._due)

    def run_all(self) -> None:
        """Inspect everything that is pending. To be called before any other use of a session.

        The timer is cancelled, so that a service that has stopped leaves nothing in the reactor.
        """
        self._size = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._pending:
            self._pending.popleft()()

    def _due(self) -> None:
        self._timer = None
        self.run_all()
