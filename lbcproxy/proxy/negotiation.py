"""What the two nodes of a session agree on between `version` and `verack`, in mode `terminate`.

Each node is offered what the other one offers. Our `verack` to a node therefore waits for the
`verack` of the other, which ends its offers. The wait is limited, so that a node that is slow, or
that waits itself, does not block the other.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from lbcproxy.clock import Clock, DelayedCall
from lbcproxy.peer import Peer
from lbcproxy.peer.handshake import NEGOTIATION, ONLY_BEFORE_VERACK, TOO_LATE, Phase, min_version
from lbcproxy.session import Direction
from lbcproxy.wire.registry import record_of

__all__ = ["MAX_VERACK_DELAY", "Negotiation", "came_early"]

MAX_VERACK_DELAY = 10.0
"""Seconds for which our `verack` waits for the other node's."""


class Negotiation:
    """The offers of one session. The offers of a direction come from its sender.

    Args:
        clock: Twisted's reactor, or a test's clock.
        delay: Seconds for which our `verack` waits at most.
        leg_to: Returns the leg on which a direction is sent, if it exists.
        is_waiting: Returns whether plugins hold messages of a direction.
    """

    def __init__(
        self,
        clock: Clock,
        delay: float,
        leg_to: Callable[[Direction], Peer | None],
        is_waiting: Callable[[Direction], bool],
    ) -> None:
        self._clock = clock
        self._delay = delay
        self._leg_to = leg_to
        self._is_waiting = is_waiting
        self._ended: set[Direction] = set()
        self._sent: dict[Direction, Deferred[None]] = {each: Deferred() for each in Direction}
        self._timer: DelayedCall | None = None
        self._over = False

    def begin(self) -> None:
        """Start the timeout: both nodes have sent their `version`."""
        if not self._over:
            self._timer = self._clock.callLater(self._delay, self._send_veracks)

    async def verack_came(self, direction: Direction) -> None:
        """Record the `verack` of a node; return once ours has been sent to that node."""
        self._ended.add(direction)
        self.look(direction)
        if not self._over:
            await self._sent[direction.other]

    def look(self, direction: Direction) -> None:
        """Send our `verack` in a direction if all offers have been sent before it."""
        if direction in self._ended and not self._is_waiting(direction):
            self._send_verack(direction)

    def offer(self, direction: Direction, command: str, raw: bytes) -> str | None:
        """Send an offer to the receiver of a direction, if the message is one.

        Args:
            direction: The direction.
            command: The command of the message.
            raw: The whole frame.

        Returns:
            An empty string if it was sent, or the reason why it cannot be sent. None if it is not
            an offer or may be sent later.
        """
        target = self._leg_to(direction)
        source = self._leg_to(direction.other)
        if source is None or target is None:
            return None
        if target.core.handshake.may_offer(command) and _is_offer(command):
            target.offer(command, raw)
            return ""
        if command not in ONLY_BEFORE_VERACK:
            return None
        if target.core.ready and source.core.ready and command not in TOO_LATE:
            return None  # the node decides whether that is too late
        agreed, lowest = target.core.protocol_version, min_version(command)
        if agreed < lowest:
            return f"needs protocol version {lowest}, {agreed} was agreed"
        return "came after our verack"

    def end(self) -> None:
        """Stop waiting: the session is over."""
        self._over = True
        self._stop()
        for each in self._sent.values():
            if not each.called:
                each.callback(None)

    def _send_veracks(self) -> None:
        for direction in Direction:
            self._send_verack(direction)

    def _send_verack(self, direction: Direction) -> None:
        target = self._leg_to(direction)
        if target is None or self._sent[direction].called:
            return
        target.send_verack()
        self._sent[direction].callback(None)
        if all(each.called for each in self._sent.values()):
            self._stop()

    def _stop(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


def came_early(leg: Peer, command: str) -> str:
    """Return why nodes ignore a message that came during the handshake; empty if they do not."""
    phase = leg.core.handshake.phase
    if phase is Phase.AWAIT_VERSION:
        return "came before version"
    if phase is Phase.DONE or command in NEGOTIATION or record_of(command) is None:
        return ""
    return "came before verack"


def _is_offer(command: str) -> bool:
    """Whether a message may be sent before `verack`: a known offer, or an unknown command."""
    return command in ONLY_BEFORE_VERACK or record_of(command) is None
