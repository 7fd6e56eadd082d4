"""A call at a time that knows when the process stood still, so that no node is blamed for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Wakeup"]

STOOD_STILL = 0.1
"""Seconds behind its time from which on a call tells of a process that did not run: it was stopped,
its machine was asleep or had no time for it, or the clock was set."""


class Wakeup:
    """Call `then` at a time of `clock`, Twisted's `IReactorTime`.

    If that comes late, what has been sent meanwhile is read first; `then` is told whether there was
    something, which `heard`, the time of the last bytes, shows.
    """

    def __init__(
        self, clock: Any, at: float, heard: Callable[[], float], then: Callable[[bool], object]
    ) -> None:
        self.at = at
        self._clock = clock
        self._heard = heard
        self._then = then
        self._call = clock.callLater(max(0.0, at - clock.seconds()), self._due)

    @property
    def active(self) -> bool:
        """Whether the call is still to come."""
        return bool(self._call.active())

    def cancel(self) -> None:
        """Do not call, if that is still to come."""
        if self.active:
            self._call.cancel()

    def _due(self) -> None:
        if self._clock.seconds() - self.at < STOOD_STILL:
            self._then(False)
        else:  # the reactor may call before it reads
            self._call = self._clock.callLater(0, lambda: self._then(self._heard() > self.at))
