"""A call at a time that knows when the process stood still, so that no node is blamed for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Wakeup"]


class Wakeup:
    """Call `then` at a time of `clock`, Twisted's `IReactorTime`.

    What has been sent by then is read first: the process may have been stopped, its machine asleep
    or busy. `then` is told whether something came behind the time, which `heard`, when the last
    bytes were read, shows.
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
        # The reactor may call before it reads.
        self._call = self._clock.callLater(0, lambda: self._then(self._heard() > self.at))
