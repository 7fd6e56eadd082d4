"""`socks5@[HOST:]PORT`: each client asks for a node, then we observe as in mode `reverse`.

A node that is started with `--proxy` makes all its outbound connections through us.
"""

from __future__ import annotations

from lbcproxy.peer import RelayPeer
from lbcproxy.proxy.modes import ModeKind
from lbcproxy.proxy.pending_client import PendingClient
from lbcproxy.proxy.socks import SocksServer, reply_to

__all__ = ["MODE", "SocksClient"]


class SocksClient(PendingClient):
    """A client that names its destination by SOCKS. That exchange is not recorded."""

    _socks: SocksServer

    def peer_connected(self, peer: RelayPeer) -> None:
        """Start the exchange."""
        self._socks = SocksServer()
        super().peer_connected(peer)

    def peer_received(self, peer: RelayPeer, data: bytes) -> None:
        """Answer the client, and connect it once it has named its destination."""
        answer = self._socks.feed(data)
        if answer:
            peer.write(answer)
        if self._socks.refused:
            self.refuse(self._socks.refused)
        elif self._socks.destination is not None:
            self.lead(self._socks.destination, early=self._socks.rest, answer=reply_to)


MODE = ModeKind(
    name="socks5",
    help="a SOCKS 5 proxy for nodes with --proxy: connects them to where they ask, and watches",
    upstream=False,
    make=SocksClient,
)
