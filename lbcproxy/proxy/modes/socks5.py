"""`socks5@[HOST:]PORT`: each client asks for the node it wants, then we watch as with reverse.

A node with `--proxy` so shows every connection that it makes.
"""

from __future__ import annotations

from lbcproxy.peer import RelayPeer
from lbcproxy.proxy.modes import ModeKind
from lbcproxy.proxy.pending_client import PendingClient
from lbcproxy.proxy.socks import SocksServer, reply_to

__all__ = ["MODE", "SocksClient"]


class SocksClient(PendingClient):
    """One client that says in SOCKS where it wants to go. That is no part of what is recorded."""

    _talk: SocksServer

    def peer_connected(self, peer: RelayPeer) -> None:
        """Begin to listen."""
        self._talk = SocksServer()
        super().peer_connected(peer)

    def peer_received(self, peer: RelayPeer, data: bytes) -> None:
        """Answer; go where the client asks for once it has."""
        answer = self._talk.feed(data)
        if answer:
            peer.write(answer)
        if self._talk.refused:
            self.refuse(self._talk.refused)
        elif self._talk.destination is not None:
            self.lead(self._talk.destination, early=self._talk.rest, answer=reply_to)


MODE = ModeKind(
    name="socks5",
    help="a SOCKS 5 proxy for nodes with --proxy: connects them to where they ask, and watches",
    upstream=False,
    make=SocksClient,
)
