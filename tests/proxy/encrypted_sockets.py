"""Sockets of nodes over either transport: a test says and reads frames, whatever wires carry."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

from lbcproxy.transport.events import KeysAgreed, PacketReceived, TransportEvent, VersionReceived
from lbcproxy.transport.v2 import V2Transport
from tests.proxy.loops import connect
from tests.proxy.packets import MAGIC, each_contents, shown
from tests.transport.sides import KEYS

__all__ = ["EncryptedSocket", "connect_over", "encrypted"]


class EncryptedSocket:
    """A connected socket whose node encrypts, with the methods of a socket."""

    def __init__(
        self, connection: socket.socket, *, initiating: bool, magic: bytes = MAGIC
    ) -> None:
        self.connection = connection
        self._magic = magic
        self._transport = V2Transport(magic, initiating=initiating, key=KEYS[not initiating])
        self._frames = bytearray()
        self.carried = bytearray()
        """The bytes on the wire, both ways."""
        self.received = 0
        """How many of them have come."""
        self.events: list[TransportEvent] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def send_key(self) -> None:
        """Begin with the handshake."""
        self._send(self._transport.public_key)

    def send_version(self) -> None:
        """End the handshake, once the other side's key has come."""
        self.wait_for(KeysAgreed)
        self._send(self._transport.terminator() + self._transport.packet(b""))

    def wait_for(self, kind: type[TransportEvent]) -> None:
        """Read on until there was an event of a kind."""
        while not any(isinstance(each, kind) for each in self.events):
            assert self._read(), f"closed before {kind.__name__}"

    def shake_hands(self) -> EncryptedSocket:
        """Do all of the handshake, as far as it does not need a test to do something for it."""
        self.send_key()
        self.send_version()
        self.wait_for(VersionReceived)
        return self

    def sendall(self, frames: bytes) -> None:
        """Send a packet for each of these frames."""
        self._send(b"".join(map(self._transport.packet, each_contents(frames, self._magic))))

    def recv(self, most: int) -> bytes:
        """Return bytes of frames, when there are some; nothing at the end."""
        while not self._frames:
            if not self._read():
                return b""
        taken = bytes(self._frames[:most])
        del self._frames[:most]
        return taken

    def check_wire(self) -> None:
        """Assert that the wire has carried no frame."""
        assert self._magic not in self.carried

    def _read(self) -> bool:
        data = self.connection.recv(65_536)
        self.carried += data
        self.received += len(data)
        events = self._transport.receive(data)
        self.events += events
        for each in events:
            if isinstance(each, PacketReceived):
                self._frames += shown(each.contents, self._magic)
        return bool(data)

    def _send(self, data: bytes) -> None:
        self.carried += data
        self.connection.sendall(data)


@contextlib.contextmanager
def encrypted(
    client: socket.socket, node: socket.socket
) -> Iterator[tuple[EncryptedSocket, EncryptedSocket]]:
    """Do the handshake of both nodes; in the end no wire may have carried a frame."""
    pair = EncryptedSocket(client, initiating=True), EncryptedSocket(node, initiating=False)
    for each in pair:
        each.send_key()
    for each in pair:
        each.send_version()
    for each in pair:
        each.wait_for(VersionReceived)
    yield pair
    for each in pair:
        each.check_wire()


@contextlib.contextmanager
def connect_over(transport: str, port: int, server: socket.socket) -> Iterator[tuple[Any, Any]]:
    """A connection to a port, and the one that a server accepts for it; both "v1" or "v2"."""
    with connect(port, server) as pair:
        if transport == "v1":
            yield pair
        else:
            with encrypted(*pair) as others:
                yield others
