"""Close connections in order, and abort them if the node does not read the rest in time."""

from __future__ import annotations

from collections.abc import Callable

from lbcproxy.clock import Clock, DelayedCall
from lbcproxy.peer import RelayPeer

__all__ = ["GracefulClose"]


class GracefulClose:
    """Closes the connections of one session."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timers: list[DelayedCall] = []
        self._over = False
        self.breaking: RelayPeer | None = None
        """The peer that is aborted as soon as its write buffer is empty."""

    def close(self, peer: RelayPeer, linger: float) -> None:
        """Close in order; abort after `linger` seconds if the node has not read the rest."""
        if peer.is_open:
            peer.close()
            self.later(linger, peer.abort)

    def abort_soon(self, peer: RelayPeer, linger: float) -> None:
        """Mirror a reset: abort after writing what the other node had sent before it."""
        if peer.is_open:
            self.breaking = peer
            self.later(linger if peer.full else 0, peer.abort)

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call a function after a delay, unless `stop` is called before."""
        if not self._over:
            self._timers.append(self._clock.callLater(seconds, call))

    def stop(self) -> None:
        """Cancel all timers; the session is over."""
        self._over = True
        for timer in self._timers:
            if timer.active():
                timer.cancel()
