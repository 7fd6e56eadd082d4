"""The time limits of the handshakes of encrypted legs."""

from __future__ import annotations

from collections.abc import Callable

from lbcproxy.clock import Clock
from lbcproxy.peer.liveness import Wakeup

__all__ = ["TimeLimits"]


class TimeLimits:
    """Calls at times at which something should have arrived.

    What has arrived by then is read first: the process may have been stopped.

    Args:
        clock: Twisted's reactor, or a test's clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_read = 0.0
        self._calls: list[Wakeup] = []

    def note_read(self) -> None:
        """Note that a node's bytes came."""
        self._last_read = self._clock.seconds()

    def after(self, seconds: float, check: Callable[[bool], object]) -> None:
        """Call a function later, with whether bytes were read after that time was reached."""
        at = self._clock.seconds() + seconds
        self._calls.append(Wakeup(self._clock, at, lambda: self._last_read, check))

    def stop(self) -> None:
        """Cancel all calls."""
        for call in self._calls:
            call.cancel()
