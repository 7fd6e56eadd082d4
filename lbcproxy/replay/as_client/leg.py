"""The connection of a replayed client, encrypted (BIP324) or not."""

from __future__ import annotations

from typing import Protocol

from lbcproxy.networks import Network
from lbcproxy.peer import RelayPeer
from lbcproxy.peer.relay_peer import PeerOwner
from lbcproxy.transport.events import Broken
from lbcproxy.transport.frames import FrameTransport
from lbcproxy.transport.kind import Transport

__all__ = ["ClientLeg", "ReplayLegOwner"]


class ReplayLegOwner(PeerOwner, Protocol):
    """What a leg tells its owner besides what a `RelayPeer` does."""

    def peer_agreed(self, peer: RelayPeer) -> None:
        """Messages can be sent: the connection is established, and encrypted if it is to be."""

    def peer_broken(self, peer: RelayPeer, broken: Broken) -> None:
        """What the node sends cannot be decrypted any further."""


class ClientLeg(RelayPeer):
    """A connection to a node, whose messages its owner sends and receives as v1 frames.

    Args:
        owner: Is called with everything that happens on the connection.
        network: The network of the node.
        transport: V1 or V2.
    """

    def __init__(self, owner: ReplayLegOwner, network: Network, transport: Transport) -> None:
        super().__init__(owner)
        self._leg_owner = owner
        self._encrypts = transport is Transport.V2
        if self._encrypts:
            self.carry_by(FrameTransport(network.magic, initiating=True))

    def opened(self) -> None:
        """Tell the owner that the connection is established."""
        super().opened()
        if not self._encrypts:
            self._leg_owner.peer_agreed(self)

    def agreed(self) -> None:
        """Tell the owner that the connection is encrypted."""
        self._leg_owner.peer_agreed(self)

    def broken(self, broken: Broken) -> None:
        """Tell the owner that the rest cannot be read."""
        self._leg_owner.peer_broken(self, broken)
