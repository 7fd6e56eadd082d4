"""Play both sides of a recorded conversation: one listens as the node, one connects as the client.

Each message is sent when the other side has received what went before it in the recording, so
the order is that of the recording, however fast the way between the two is.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from lbcproxy.errors import LbcproxyError
from lbcproxy.session import Direction

__all__ = ["Diverged", "Play", "Player"]

STALL = 30.0


class Diverged(LbcproxyError):
    """What arrived is not what was sent, or something never arrived."""


class Play:
    """A conversation on its way: who has sent and received how much of it.

    `messages` is each message's direction and bytes, in order. `done` fires when all has arrived,
    or fails with Diverged. `clock` is Twisted's `IReactorTime`: no progress for 30 s is a failure.
    """

    def __init__(self, messages: Sequence[tuple[Direction, bytes]], clock: Any) -> None:
        self._turns = [
            (direction, b"".join(raw for _, raw in group))
            for direction, group in itertools.groupby(messages, key=lambda each: each[0])
        ]
        self._clock = clock
        self._turn = 0
        self._arrived = 0
        self._players: dict[Direction, Player] = {}
        self.done: Deferred[None] = Deferred()
        self._watchdog = clock.callLater(STALL, self._stalled)

    def node(self) -> Factory:
        """Return the factory of the node's side, for a listener."""
        return _Players(self, Direction.TO_CLIENT)

    def client(self) -> Player:
        """Return the client's side, to be connected."""
        return Player(self, Direction.TO_UPSTREAM)

    def joined(self, player: Player) -> None:
        """Take note that a side is connected; begin when both are."""
        self._players[player.sends] = player
        if len(self._players) == len(Direction):
            self._send()

    def received(self, player: Player, data: bytes) -> None:
        """Compare what arrived at a side with what the other has sent."""
        if self.done.called:
            return
        direction, expected = self._turns[self._turn]
        wanted = expected[self._arrived : self._arrived + len(data)]
        if direction is player.sends or data != wanted:
            self._finish(Diverged(f"in turn {self._turn + 1} other bytes arrived than were sent"))
            return
        self._arrived += len(data)
        if self._arrived == len(expected):
            self._turn, self._arrived = self._turn + 1, 0
            self._send()

    def lost(self, player: Player) -> None:
        """Take note that a side lost its connection."""
        if not self.done.called:
            self._finish(Diverged(f"the connection was lost in turn {self._turn + 1}"))

    def _send(self) -> None:
        self._watchdog.reset(STALL)
        if self._turn == len(self._turns):
            self._finish(None)
            return
        direction, data = self._turns[self._turn]
        self._players[direction].wire.write(data)

    def _stalled(self) -> None:
        turns = len(self._turns)
        self._finish(
            Diverged(f"nothing arrived for {STALL:.0f} s, in turn {self._turn + 1} of {turns}")
        )

    def _finish(self, failure: Diverged | None) -> None:
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
        """The transport; Twisted's interfaces do not name all that TCP has."""
        return self.transport

    def connectionMade(self) -> None:
        """Take one's place."""
        self.wire.setTcpNoDelay(True)
        self._play.joined(self)

    def dataReceived(self, data: bytes) -> None:
        """Have it compared."""
        self._play.received(self, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Say so."""
        self._play.lost(self)


class _Players(Factory):
    noisy = False

    def __init__(self, play: Play, sends: Direction) -> None:
        self._play = play
        self._sends = sends

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return Player(self._play, self._sends)
