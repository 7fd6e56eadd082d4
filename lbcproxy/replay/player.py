"""Plays both sides of a recorded conversation: one listens as the node, the other connects.

A message is sent after the other side has received everything before it in the recording. So the
order is that of the recording, whatever the speed of the connection.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from lbcproxy.clock import Clock
from lbcproxy.errors import LbcproxyError
from lbcproxy.networks import Network
from lbcproxy.peer.connection import Connection
from lbcproxy.session import Direction
from lbcproxy.transport.events import Broken
from lbcproxy.transport.frames import AcceptingTransport, Carrier, FrameTransport

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
        encrypted_on: The network of the messages, if both sides are to encrypt (BIP324). The client
            then has to speak first, and bytes that are no message cannot be played.
    """

    def __init__(
        self,
        messages: Sequence[tuple[Direction, bytes]],
        clock: Clock,
        *,
        encrypted_on: Network | None = None,
    ) -> None:
        self._turns = [
            (direction, b"".join(raw for _, raw in group))
            for direction, group in itertools.groupby(messages, key=lambda each: each[0])
        ]
        self._clock = clock
        self._encrypted_on = encrypted_on
        self._turn = 0
        self._arrived = 0
        self._players: dict[Direction, Player] = {}
        self.done: Deferred[None] = Deferred()
        self._watchdog = clock.callLater(STALL_TIMEOUT, self._stalled)

    def node(self) -> Factory:
        """Return the factory of the node's side, for a listener."""
        return _Players(lambda: self._player(Direction.TO_CLIENT))

    def client(self) -> Player:
        """Return the protocol of the client's side, for a connection."""
        return self._player(Direction.TO_UPSTREAM)

    def _player(self, sends: Direction) -> Player:
        player = Player(self, sends)
        if self._encrypted_on is not None:
            magic = self._encrypted_on.magic
            carrier: Carrier = AcceptingTransport(magic, only_v2=True)
            if sends is Direction.TO_UPSTREAM:
                carrier = FrameTransport(magic, initiating=True)
            player.carry_by(carrier)
        return player

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

    def lost(self, player: Player, reason: str = "the connection was lost") -> None:
        """Record that a side lost its connection, or cannot read it any further."""
        if not self.done.called:
            self._finish(PlaybackFailed(f"{reason} in turn {self._turn + 1}"))

    def _send(self) -> None:
        self._watchdog.reset(STALL_TIMEOUT)
        if self._turn == len(self._turns):
            self._finish(None)
            return
        direction, data = self._turns[self._turn]
        self._players[direction].write(data)

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
            player.close()
        if failure is None:
            self.done.callback(None)
        else:
            self.done.errback(Failure(failure))


class Player(Connection):
    """One side of a play."""

    def __init__(self, play: Play, sends: Direction) -> None:
        super().__init__()
        self._play = play
        self.sends = sends

    def opened(self) -> None:
        """Join the play."""
        self._play.joined(self)

    def received(self, data: bytes) -> None:
        """Compare the data."""
        self._play.received(self, data)

    def broken(self, broken: Broken) -> None:
        """Report that the rest cannot be decrypted."""
        self._play.lost(self, f"encrypted transport: {broken.detail},")

    def finished(self) -> None:
        """Close: the other side has nothing more to send."""
        self.close()

    def closed(self, *, reset: bool) -> None:
        """Report the loss."""
        self._play.lost(self)


class _Players(Factory):
    noisy = False

    def __init__(self, make: Callable[[], Player]) -> None:
        self._make = make

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return self._make()
