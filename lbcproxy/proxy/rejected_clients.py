"""Log rejected clients, but not each one: there may be thousands a second."""

from __future__ import annotations

from twisted.logger import Logger

from lbcproxy.clock import Clock
from lbcproxy.endpoint import Endpoint
from lbcproxy.peer.log import LOG_FILTER

__all__ = ["RejectedClients"]

LOG_INTERVAL = 60.0
"""Seconds between two lines."""


class RejectedClients:
    """Logs the first rejected client, then at most one a minute with the number in between."""

    log = Logger(observer=LOG_FILTER)

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next = 0.0
        self._unlogged = 0

    def record(self, listen: Endpoint, address: str, reason: str) -> None:
        """Record a rejected client."""
        now = self._clock.seconds()
        if now < self._next:
            self._unlogged += 1
            return
        more = f"; {self._unlogged:,} more since the last such line" if self._unlogged else ""
        self._next, self._unlogged = now + LOG_INTERVAL, 0
        self.log.warn(
            "{listen}: client {address} refused: {why}{more}",
            listen=listen,
            address=address,
            why=reason,
            more=more,
        )
