"""`transparent@[HOST:]PORT`: connections that the firewall redirects to us, led where they went.

Linux only: iptables and nftables keep where a redirected connection was to go.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer import RelayPeer
from lbcproxy.proxy.modes import ModeKind
from lbcproxy.proxy.pending_client import PendingClient

__all__ = ["MODE", "RedirectedClient", "redirected_from"]

SO_ORIGINAL_DST = 80
"""The number that Linux has for it, with IPv4 and, as IP6T_SO_ORIGINAL_DST, with IPv6."""
SOL_IP, SOL_IPV6 = 0, 41
ADDRESS_4 = struct.Struct("!2xH4s8x")
ADDRESS_6 = struct.Struct("!2xH4x16s4x")
MAPPED = "::ffff:"


def redirected_from(connection: Any, local: Endpoint) -> Endpoint:
    """Give where a socket's connection was to go before it was redirected.

    `local` is where it came in. Raises OSError if Linux does not know.
    """
    if ":" in local.host and not local.host.startswith(MAPPED):
        found = connection.getsockopt(SOL_IPV6, SO_ORIGINAL_DST, ADDRESS_6.size)
        port, host = ADDRESS_6.unpack(found)
        return Endpoint(socket.inet_ntop(socket.AF_INET6, host), port)
    found = connection.getsockopt(SOL_IP, SO_ORIGINAL_DST, ADDRESS_4.size)
    port, host = ADDRESS_4.unpack(found)
    return Endpoint(socket.inet_ntop(socket.AF_INET, host), port)


class RedirectedClient(PendingClient):
    """One client that does not know of us."""

    def peer_connected(self, peer: RelayPeer) -> None:
        """Go where the client wanted to go."""
        wire: Any = peer.transport
        local = peer.local_address
        try:
            wanted = redirected_from(wire.getHandle(), local)
        except OSError as error:
            why = error.strerror or str(error)
            self.refuse(f"Linux knows of no redirection by a firewall ({why})")
            return
        if wanted == Endpoint(local.host.removeprefix(MAPPED), local.port):
            self.refuse(f"it came to {local} itself, and was not redirected by a firewall")
            return
        self.lead(wanted, reached=wanted)


MODE = ModeKind(
    name="transparent",
    help="connects clients that a firewall redirects to where they wanted to go, and watches",
    upstream=False,
    make=RedirectedClient,
)
