"""What the transports of a session need of their relay."""

from __future__ import annotations

from typing import Protocol

from lbcproxy.faults import StreamEnd
from lbcproxy.peer import RelayPeer
from lbcproxy.proxy.transports.packet_receiver import PacketOwner
from lbcproxy.session import Direction

__all__ = ["TransportHost"]


class TransportHost(PacketOwner, Protocol):
    """The relay."""

    number: int

    def use_plain(self) -> None:
        """Give bytes of both legs directly to the forwarder from now on."""

    def translate(self, to_encrypted: Direction) -> None:
        """Have each message pass one by one: only one leg is encrypted."""

    def upstream_answered(self) -> None:
        """The upstream speaks what it was sent."""

    def redial(self) -> None:
        """Connect to the upstream again: it does not speak v2."""

    def fault_ended(self, target: RelayPeer, end: StreamEnd) -> None:
        """End the session as a fault demands, starting with one leg."""

    def held_changed(self) -> None:
        """Tell the budget how much the session holds."""
