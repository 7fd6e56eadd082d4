"""The end of a connection: in order, and cut if the node does not take what waits in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lbcproxy.peer import RelayPeer

__all__ = ["GracefulClose"]


class GracefulClose:
    """The ends of one session's connections; `clock` is Twisted's `IReactorTime`."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._timers: list[Any] = []
        self._over = False
        self.breaking: RelayPeer | None = None
        """Who is cut as soon as what waits for it has gone."""

    def close(self, peer: RelayPeer, linger: float) -> None:
        """Close in order, and cut it if the node does not read what waits in time."""
        if peer.is_open:
            peer.close()
            self.later(linger, peer.abort)

    def abort_soon(self, peer: RelayPeer, linger: float) -> None:
        """Mirror a reset, after what the sender had sent before it."""
        if peer.is_open:
            self.breaking = peer
            self.later(linger if peer.full else 0, peer.abort)

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call something later, unless all is over by then, or already."""
        if not self._over:
            self._timers.append(self._clock.callLater(seconds, call))

    def stop(self) -> None:
        """All is over."""
        self._over = True
        for timer in self._timers:
            if timer.active():
                timer.cancel()
