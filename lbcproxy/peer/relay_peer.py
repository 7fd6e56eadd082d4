"""`RelayPeer`: one end of a connection that the proxy relays.

It originates no byte of its own: everything that happens goes to its owner, which decides what is
written.
"""

from __future__ import annotations

from typing import Protocol

from lbcproxy.peer.connection import Connection
from lbcproxy.session import NodeState, NodeStatistics

__all__ = ["PeerOwner", "RelayPeer"]


class PeerOwner(Protocol):
    """The owner of relay peers, as a relay is of two. Each call may write, pause or close."""

    def peer_connected(self, peer: RelayPeer) -> None:
        """The connection is established."""

    def peer_received(self, peer: RelayPeer, data: bytes) -> None:
        """Bytes arrived."""

    def peer_finished(self, peer: RelayPeer) -> None:
        """The node will send nothing more (FIN); it may still read."""

    def peer_closed(self, peer: RelayPeer, *, reset: bool) -> None:
        """The connection is gone; `reset` if it was reset or failed. This is the last call."""

    def peer_full(self, peer: RelayPeer) -> None:
        """More than 64 KiB wait to be sent to the node: write no more for now."""

    def peer_drained(self, peer: RelayPeer) -> None:
        """Everything that waited has been sent: writing may continue."""


class RelayPeer(Connection):
    """One end of a connection whose bytes an owner relays.

    Args:
        owner: Is called with everything that happens on the connection.
        side: What is known of the node, if this is not the first connection to it.
    """

    def __init__(self, owner: PeerOwner, side: NodeState | None = None) -> None:
        super().__init__()
        self.side = side or NodeState()
        """What is known of the node. The session fills it: a peer reads nothing by itself."""
        self._owner = owner

    def statistics(self) -> NodeStatistics:
        """Return what the session has found out about the node so far, as a value."""
        return self.side.statistics()

    def opened(self) -> None:
        """Tell the owner that the connection is established."""
        self._owner.peer_connected(self)

    def received(self, data: bytes) -> None:
        """Pass bytes to the owner."""
        self._owner.peer_received(self, data)

    def finished(self) -> None:
        """Tell the owner that the node sends nothing more."""
        self._owner.peer_finished(self)

    def closed(self, *, reset: bool) -> None:
        """Tell the owner that the connection is gone."""
        self._owner.peer_closed(self, reset=reset)

    def filled(self) -> None:
        """Tell the owner to stop writing."""
        self._owner.peer_full(self)

    def drained(self) -> None:
        """Tell the owner that writing may continue."""
        self._owner.peer_drained(self)
