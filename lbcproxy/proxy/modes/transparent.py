"""`transparent@[HOST:]PORT`: clients that a firewall redirects to us, connected to their target.

Linux only: iptables and nftables keep the original destination of a redirected connection.
"""

from __future__ import annotations

import socket
import struct
from typing import Protocol

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer import RelayPeer
from lbcproxy.proxy.modes import ModeKind
from lbcproxy.proxy.pending_client import PendingClient

__all__ = ["MODE", "RedirectedClient", "redirected_from"]

SO_ORIGINAL_DST = 80
"""Linux uses this number for IPv4, and for IPv6 as IP6T_SO_ORIGINAL_DST."""
SOL_IP, SOL_IPV6 = 0, 41
ADDRESS_4 = struct.Struct("!2xH4s8x")
ADDRESS_6 = struct.Struct("!2xH4x16s4x")
MAPPED = "::ffff:"


class Socket(Protocol):
    """What is used of a socket."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """Return the value of an option."""


def redirected_from(connection: Socket, local: Endpoint) -> Endpoint:
    """Return the destination that a connection had before it was redirected.

    Args:
        connection: The socket that was accepted.
        local: Its local address.

    Raises:
        OSError: Linux does not know of a redirection.
    """
    if ":" in local.host and not local.host.startswith(MAPPED):
        found = connection.getsockopt(SOL_IPV6, SO_ORIGINAL_DST, ADDRESS_6.size)
        port, host = ADDRESS_6.unpack(found)
        return Endpoint(socket.inet_ntop(socket.AF_INET6, host), port)
    found = connection.getsockopt(SOL_IP, SO_ORIGINAL_DST, ADDRESS_4.size)
    port, host = ADDRESS_4.unpack(found)
    return Endpoint(socket.inet_ntop(socket.AF_INET, host), port)


class RedirectedClient(PendingClient):
    """A client that does not know of us."""

    def peer_connected(self, peer: RelayPeer) -> None:
        """Connect the client to its original destination."""
        local = peer.local_address
        try:
            wanted = redirected_from(peer.transport.getHandle(), local)  # type: ignore[union-attr]
        except OSError as error:
            reason = error.strerror or str(error)
            self.refuse(f"Linux knows of no redirection by a firewall ({reason})")
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
