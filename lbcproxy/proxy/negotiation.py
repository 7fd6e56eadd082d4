"""What the two nodes of a session agree on between `version` and `verack`, in mode `terminate`.

Each is offered what the other one offers. So our `verack` to a node waits for the other's, which
ends its offers; but not for ever: a node that is slow, or waits itself, does not hold up the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from lbcproxy.peer import Peer
from lbcproxy.peer.handshake import NEGOTIATION, ONLY_BEFORE_VERACK, TOO_LATE, Phase, min_version
from lbcproxy.session import Direction
from lbcproxy.wire.registry import record_of

__all__ = ["HOLD", "Negotiation", "came_early"]

HOLD = 10.0
"""Seconds that our `verack` waits for the other node's."""


class Negotiation:
    """The offers of one session. A direction's offers come from its sender."""

    def __init__(
        self,
        clock: Any,
        hold: float,
        leg_to: Callable[[Direction], Peer | None],
        is_waiting: Callable[[Direction], bool],
    ) -> None:
        self._clock = clock
        self._hold = hold
        self._leg_to = leg_to
        self._is_waiting = is_waiting
        self._ended: set[Direction] = set()
        self._sent: dict[Direction, Deferred[None]] = {each: Deferred() for each in Direction}
        self._timer: Any = None
        self._over = False

    def begin(self) -> None:
        """Take note that both nodes have sent their `version`."""
        if not self._over:
            self._timer = self._clock.callLater(self._hold, self._give_up)

    async def verack_came(self, direction: Direction) -> None:
        """Take a node's `verack`; done when that node has ours, so that it gets nothing before."""
        self._ended.add(direction)
        self.look(direction)
        if not self._over:
            await self._sent[direction.other]

    def look(self, direction: Direction) -> None:
        """Send our `verack` in a direction if all offers have gone out before it."""
        if direction in self._ended and not self._is_waiting(direction):
            self._send_verack(direction)

    def offer(self, direction: Direction, command: str, raw: bytes) -> str | None:
        """Offer something to a direction's receiver; return why that cannot be, "" if it was done.

        None says that it is no offer, or may as well be sent later.
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
            return None  # whether that is too late is for the node to judge
        agreed, lowest = target.core.protocol_version, min_version(command)
        if agreed < lowest:
            return f"needs protocol version {lowest}, {agreed} was agreed"
        return "came after our verack"

    def end(self) -> None:
        """Wait for nothing any more."""
        self._over = True
        self._stop()
        for each in self._sent.values():
            if not each.called:
                each.callback(None)

    def _give_up(self) -> None:
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
    """Say of a message in the handshake why nodes ignore it; empty if they do not."""
    phase = leg.core.handshake.phase
    if phase is Phase.AWAIT_VERSION:
        return "came before version"
    if phase is Phase.DONE or command in NEGOTIATION or record_of(command) is None:
        return ""
    return "came before verack"


def _is_offer(command: str) -> bool:
    """Whether something is told before `verack`: what can be, and what nobody knows yet."""
    return command in ONLY_BEFORE_VERACK or record_of(command) is None
