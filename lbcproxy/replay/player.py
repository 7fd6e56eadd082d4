"""Plays both sides of a recorded conversation: one listens as the node, the other connects.

A message is sent after the other side has received everything before it in the recording. So the
order is that of the recording, whatever the speed of the connection.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from lbcproxy.clock import Clock
from lbcproxy.errors import LbcproxyError
from lbcproxy.session import Direction

__all__ = ["Play", "PlaybackFailed", "Player"]

STALL_TIMEOUT = 30.0


class PlaybackFailed(LbcproxyError):
    """Bytes arrived that were not sent, or bytes that were sent did not arrive."""


class Play:
    """A conversation in progress: how much of it each side has sent and received.

    `done` fires when everything has arrived, or fails with `PlaybackFailed`. It also fails after 30
    seconds without progress.

    Args:
        messages: The direction and the bytes of each message, in order.
        clock: Measures the 30 seconds.
    """

    def __init__(self, messages: Sequence[tuple[Direction, bytes]], clock: Clock) -> None:
        self._turns = [
            (direction, b"".join(raw for _, raw in group))
            for direction, group in itertools.groupby(messages, key=lambda each: each[0])
        ]
        self._clock = clock
        self._turn = 0
        self._arrived = 0
        self._players: dict[Direction, Player] = {}
        self.done: Deferred[None] = Deferred()
        self._watchdog = clock.callLater(STALL_TIMEOUT, self._stalled)

    def node(self) -> Factory:
        """Return the factory of the node's side, for a listener."""
        return _Players(self, Direction.TO_CLIENT)

    def client(self) -> Player:
        """Return the protocol of the client's side, for a connection."""
        return Player(self, Direction.TO_UPSTREAM)

    def joined(self, player: Player) -> None:
        """Record that a side is connected; start when both are."""
        self._players[player.sends] = player
        if len(self._players) == len(Direction):
            self._send()

    def received(self, player: Player, data: bytes) -> None:
        """Compare data that arrived at a side with what the other side sent."""
        if self.done.called:
            return
        direction, expected = self._turns[self._turn]
        wanted = expected[self._arrived : self._arrived + len(data)]
        if direction is player.sends or data != wanted:
            self._finish(PlaybackFailed(f"in turn {self._turn + 1} the received bytes differ"))
            return
        self._arrived += len(data)
        if self._arrived == len(expected):
            self._turn, self._arrived = self._turn + 1, 0
            self._send()

    def lost(self, player: Player) -> None:
        """Record that a side lost its connection."""
        if not self.done.called:
            self._finish(PlaybackFailed(f"the connection was lost in turn {self._turn + 1}"))

    def _send(self) -> None:
        self._watchdog.reset(STALL_TIMEOUT)
        if self._turn == len(self._turns):
            self._finish(None)
            return
        direction, data = self._turns[self._turn]
        self._players[direction].wire.write(data)

    def _stalled(self) -> None:
        turns = len(self._turns)
        self._finish(
            PlaybackFailed(
                f"nothing arrived for {STALL_TIMEOUT:.0f} s, in turn {self._turn + 1} of {turns}"
            )
        )

    def _finish(self, failure: PlaybackFailed | None) -> None:
        if self._watchdog.active():
            self._watchdog.cancel()
        for player in self._players.values():
            player.wire.loseConnection()
        if failure is None:
            self.done.callback(None)
        else:
            self.done.errback(Failure(failure))


class Player(Protocol):
    """One side of a play."""

    def __init__(self, play: Play, sends: Direction) -> None:
        self._play = play
        self.sends = sends

    @property
    def wire(self) -> Any:
        """The TCP transport; Twisted's interface does not declare all of its methods."""
        return self.transport

    def connectionMade(self) -> None:
        """Join the play."""
        self.wire.setTcpNoDelay(True)
        self._play.joined(self)

    def dataReceived(self, data: bytes) -> None:
        """Compare the data."""
        self._play.received(self, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Report the loss."""
        self._play.lost(self)


class _Players(Factory):
    noisy = False

    def __init__(self, play: Play, sends: Direction) -> None:
        self._play = play
        self._sends = sends

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return Player(self._play, self._sends)
