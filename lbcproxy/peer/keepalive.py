"""Pings of ours and their pongs (PEER.md P)."""

from __future__ import annotations

import secrets

from lbcproxy.wire.messages.keepalive import Ping, Pong

__all__ = ["Keepalive"]

WITH_NONCE = 60001
"""The lowest protocol version at which a ping has a nonce and is answered (BIP31)."""


class Keepalive:
    """The last ping that was sent, and how long its pong took."""

    def __init__(self) -> None:
        self.nonce = 0
        """Of the ping that waits for its pong; 0 if none does."""
        self.at: float | None = None
        """The time of day at which the last was sent."""
        self.seconds: float | None = None
        """How long the last pong took."""
        self._sent = 0.0

    def make(self, protocol_version: int) -> Ping:
        """Make a ping; its nonce is random and not 0, which stands for none."""
        if protocol_version < WITH_NONCE:
            return Ping()
        return Ping(secrets.randbelow((1 << 64) - 1) + 1)

    def sent(self, record: object, now: float, wall: float) -> None:
        """Take note of what was sent, if it is a ping: whoever queued it."""
        if isinstance(record, Ping) and record.nonce is not None:
            self.nonce, self.at, self._sent = record.nonce, wall, now

    def received(self, record: Pong, now: float) -> None:
        """Take note of a pong; one that answers no ping of ours means nothing."""
        if record.nonce == self.nonce != 0:
            self.seconds = now - self._sent
            self.nonce = 0
