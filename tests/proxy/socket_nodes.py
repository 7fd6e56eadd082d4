"""Nodes that encrypt, played over sockets."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from lbcproxy.transport.events import PacketReceived
from lbcproxy.transport.v2 import V2Transport
from tests.proxy.encrypted import MAGIC
from tests.tools import TIMEOUT
from tests.transport.sides import KEYS

__all__ = ["SocketNode", "pair"]


class SocketNode:
    """One node, at the far end of a connection."""

    def __init__(self, connection: socket.socket, *, initiating: bool) -> None:
        self.socket = connection
        connection.settimeout(TIMEOUT)
        self.transport = V2Transport(MAGIC, initiating=initiating, key=KEYS[not initiating])
        self._received: list[bytes] = []

    def send_key(self) -> None:
        """Send the public key."""
        self.socket.sendall(self.transport.public_key)

    def read_key(self) -> None:
        """Wait for the public key of the proxy."""
        data = b""
        while len(data) < 64:
            part = self.socket.recv(64 - len(data))
            assert part, "closed before its key"
            data += part
        self.transport.receive(data)

    def finish_handshake(self) -> None:
        """Send the rest of the handshake."""
        self.socket.sendall(self.transport.terminator() + self.transport.packet(b""))

    def send(self, *contents: bytes) -> None:
        """Send a packet for each of these contents."""
        self.socket.sendall(b"".join(map(self.transport.packet, contents)))

    def receive(self) -> bytes:
        """Return the contents of the next packet."""
        while not self._received:
            data = self.socket.recv(65_536)
            assert data, "closed while a packet was waited for"
            events = self.transport.receive(data)
            self._received += [each.contents for each in events if isinstance(each, PacketReceived)]
        return self._received.pop(0)

    def wait_for_end(self) -> None:
        """Read until the connection is gone, in whatever way."""
        with contextlib.suppress(ConnectionError):
            while self.socket.recv(65_536):
                pass


@contextlib.contextmanager
def pair(port: int, server: socket.socket) -> Iterator[tuple[SocketNode, SocketNode]]:
    """A client of the proxy at a port and the upstream that a server accepts for it, with keys."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connected:
        client = SocketNode(connected, initiating=True)
        client.send_key()
        with server.accept()[0] as accepted:
            upstream = SocketNode(accepted, initiating=False)
            upstream.read_key()
            upstream.send_key()
            client.read_key()
            yield client, upstream
