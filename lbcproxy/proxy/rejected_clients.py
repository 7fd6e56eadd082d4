"""Clients that were not let in: told, but not each, since there may be thousands a second."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer.log import LOG_FILTER

__all__ = ["RejectedClients"]

PAUSE = 60.0


class RejectedClients:
    """Tells the first, then at most one a minute with the number of those between."""

    log = Logger(observer=LOG_FILTER)

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._next = 0.0
        self._untold = 0

    def tell(self, listen: Endpoint, address: str, why: str) -> None:
        """Take note of a client that was refused."""
        now = self._clock.seconds()
        if now < self._next:
            self._untold += 1
            return
        more = f"; {self._untold:,} more since the last such line" if self._untold else ""
        self._next, self._untold = now + PAUSE, 0
        self.log.warn(
            "{listen}: client {address} refused: {why}{more}",
            listen=listen,
            address=address,
            why=why,
            more=more,
        )
