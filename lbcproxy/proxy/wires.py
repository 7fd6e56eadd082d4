"""The two connections of a session: which is whose, and how bytes get onto them."""

from __future__ import annotations

from typing import Protocol

from lbcproxy.peer import RelayPeer
from lbcproxy.peer.relay_peer import PeerOwner
from lbcproxy.proxy.early_data import EarlyData
from lbcproxy.proxy.fault_pipe import FaultOwner, FaultPipes
from lbcproxy.proxy.settings import RelaySettings, Runtime
from lbcproxy.session import Direction

__all__ = ["WireOwner", "Wires"]


class WireOwner(PeerOwner, FaultOwner, Protocol):
    """The session that has the connections."""

    def held_changed(self) -> None:
        """Tell the budget how much the session holds."""


class Wires:
    """The connections of one session. What a node sends flows in one direction.

    Args:
        owner: The session.
        settings: What the operator decided.
        runtime: The clock.
        is_answered_first: Whether the client gets an answer before anything else, once the
            upstream is connected.
    """

    def __init__(
        self,
        owner: WireOwner,
        settings: RelaySettings,
        runtime: Runtime,
        *,
        is_answered_first: bool = False,
    ) -> None:
        self._owner = owner
        self.client = RelayPeer(owner)
        self.upstream = RelayPeer(owner)
        self.pipes = FaultPipes(owner, runtime.clock, settings.seed, settings.faults)
        self.early = EarlyData()
        """What waits for the upstream to be connected."""
        faulty = any(each.by_byte and each.stream == "downstream" for each in settings.faults)
        self._for_client = EarlyData() if is_answered_first or faulty else None
        """What the client gets after our answer, and through faults, which begin then."""
        self.closed: set[RelayPeer] = set()
        """The peers whose connection is gone, or never came about."""

    @property
    def held(self) -> int:
        """Bytes that wait to be sent: for the upstream, for an answer, and in faults."""
        for_client = 0 if self._for_client is None else self._for_client.size
        return self.early.size + for_client + self.pipes.held

    def direction(self, peer: RelayPeer) -> Direction:
        """Return the direction in which a peer's node sends."""
        return Direction.TO_UPSTREAM if peer is self.client else Direction.TO_CLIENT

    def receiver(self, direction: Direction) -> RelayPeer:
        """Return the peer that is written to in a direction."""
        return self.upstream if direction is Direction.TO_UPSTREAM else self.client

    def other(self, peer: RelayPeer) -> RelayPeer:
        """Return the other peer."""
        return self.upstream if peer is self.client else self.client

    def is_replaced(self, peer: RelayPeer) -> bool:
        """Whether there is another upstream connection in place of this one."""
        return peer is not self.client and peer is not self.upstream

    def write(self, direction: Direction, data: bytes) -> None:
        """Write bytes to the receiver, or keep them until the upstream is connected."""
        receiver = self.receiver(direction)
        if receiver is self.client and self._for_client is not None:
            self._for_client.add(data)
            self._owner.held_changed()
        elif receiver.is_open:
            self.pipes.to(receiver).write(data)
        elif receiver not in self.closed:  # the upstream, which is still being dialled
            self.early.add(data)
            self._owner.held_changed()
            if self.early.is_full:
                self.client.pause("upstream")

    def upstream_joined(self) -> None:
        """Begin with the faults, and send both nodes what has waited for it."""
        self.pipes.begin()
        if self._for_client is not None:
            for_client, self._for_client = self._for_client, None
            for data in for_client.take():
                self.pipes.to(self.client).write(data)
        for data in self.early.take():
            self.pipes.to(self.upstream).write(data)
        self._owner.held_changed()
        self.client.resume("upstream")

    def hold(self, direction: Direction, held: bool, reason: str = "plugins") -> None:
        """Stop reading from the sender of a direction, or continue."""
        sender = self.receiver(direction.other)
        (sender.pause if held else sender.resume)(reason)

    def is_full(self, direction: Direction) -> bool:
        """Whether the receiver of a direction reads less than is sent."""
        return self.receiver(direction).full

    def replace_upstream(self) -> RelayPeer:
        """Abort the connection to the upstream, and return the peer of the next one."""
        old = self.upstream
        self.upstream = RelayPeer(self._owner, old.side)
        self.pipes.replace(old, self.upstream)
        old.abort()
        return self.upstream
