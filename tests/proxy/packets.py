"""Scenes over either transport: a test says and reads frames, whatever the wires carry."""

from __future__ import annotations

from typing import Any

import pytest

from lbcproxy.transport.events import (
    BreakCause,
    Broken,
    DecoyReceived,
    GarbageReceived,
    KeysAgreed,
    PacketReceived,
    TransportEvent,
    VersionReceived,
)
from lbcproxy.transport.kind import Transport
from lbcproxy.transport.messages import contents_of, parse_contents
from lbcproxy.transport.sizes import OVERHEAD
from lbcproxy.transport.v2 import V2Transport
from lbcproxy.wire.envelope import HEADER_SIZE, unpack
from tests.proxy.transports import NETWORK, FakeTransport, Scene
from tests.transport.sides import KEYS

__all__ = [
    "SCENES",
    "EncryptingSocket",
    "PacketScene",
    "check_wires",
    "each_contents",
    "raw_got",
    "shown",
    "size_of",
    "speaking",
    "v1_only",
    "wire_got",
]

MAGIC = NETWORK.magic


def v1_only(reason: str) -> pytest.MarkDecorator:
    """Have a test run over v1 alone; the reason is for readers."""
    assert reason
    return pytest.mark.parametrize("transport", ["v1"], indirect=True)


def each_contents(frames: bytes, magic: bytes = MAGIC) -> list[bytes]:
    """Return the contents of a packet for each of some frames."""
    found, at = [], 0
    while at < len(frames):
        assert frames.startswith(magic, at), "not a frame: no packet can say it"
        end = at + HEADER_SIZE + unpack(frames, at).length
        assert end <= len(frames), "not a whole frame: no packet can say it"
        found.append(contents_of(frames[at:end]))
        at = end
    return found


def raw_got(node: Any, raw: bytes) -> bytes:
    """Return what a node gets of bytes that are no frame: in a packet they have a wrong tag."""
    if isinstance(node, EncryptingSocket):
        assert node.broken is not None
        assert node.broken.cause is BreakCause.BAD_TAG
        return b""
    return raw


def wire_got(node: Any) -> bytes:
    """Return what a node has read, as the wire had it."""
    got: bytes = node.socket.got if isinstance(node, EncryptingSocket) else node.got
    return got


def shown(contents: bytes, magic: bytes = MAGIC) -> bytes:
    """Return the frame that contents of a packet stand for."""
    message = parse_contents(contents)
    assert message is not None
    return message.frame(magic)


def size_of(event: TransportEvent) -> int:
    """Return how many bytes of the stream an event stands for."""
    match event:
        case KeysAgreed():
            return 64
        case GarbageReceived(size=size):
            return size + 16
        case VersionReceived(contents=contents) | PacketReceived(contents=contents):
            return OVERHEAD + len(contents)
        case DecoyReceived(size=size):
            return OVERHEAD + size
    return 0


class EncryptingSocket:
    """The connection to a node that encrypts, as `FakeTransport` but with frames for a test.

    The node does its part of the handshake by itself. It decrypts what it has read whenever
    `got` or `waiting` are looked at. `read` is how much it has read before, in plain.
    """

    def __init__(self, socket: FakeTransport, *, initiating: bool, read: int = 0) -> None:
        self.socket = socket
        self._initiating = initiating
        self._transport = V2Transport(MAGIC, initiating=initiating, key=KEYS[not initiating])
        self._is_begun = False
        self._heard = self._at = read
        self._frames: list[tuple[int, bytes]] = []
        self.events: list[TransportEvent] = []
        """What the node has found in what it was sent."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.socket, name)

    def arrive(self, *items: Any) -> None:
        """The node sends frames."""
        self.begin()
        packet = self._transport.packet
        for each in items:
            frames = isinstance(each, bytes)
            packets = b"".join(map(packet, each_contents(each))) if frames else each
            self.socket.arrive(packets)

    def read(self, most: int | None = None) -> None:
        """The node reads, at most so many bytes of the wire."""
        self.socket.read(most)
        self.hear()

    def begin(self) -> None:
        """Begin with the handshake, if the node is the one to begin; go on as far as possible."""
        if self._initiating and not self._is_begun:
            self._is_begun = True
            self.socket.arrive(self._transport.public_key)
        self.hear()

    def hear(self) -> None:
        """Decrypt what is new, and answer a key."""
        got, waiting = self.socket.got, self.socket.waiting
        new = got[self._heard :] + waiting[max(0, self._heard - len(got)) :]
        self._heard = len(got) + len(waiting)
        for event in self._transport.receive(new):
            self.events.append(event)
            self._at += size_of(event)
            if isinstance(event, PacketReceived):
                self._frames.append((self._at, shown(event.contents)))
            elif isinstance(event, KeysAgreed):
                begins = b"" if self._initiating else self._transport.public_key
                ends = self._transport.terminator() + self._transport.packet(b"")
                self.socket.arrive(begins + ends)

    @property
    def got(self) -> bytes:
        """The frames that the node has read."""
        self.hear()
        return b"".join(each for at, each in self._frames if at <= len(self.socket.got))

    @got.setter
    def got(self, _: bytes) -> None:
        """Forget what has been read, which is all that was sent."""
        self.hear()
        self._frames.clear()

    @property
    def waiting(self) -> bytes:
        """The frames that wait to be read."""
        self.hear()
        return b"".join(each for at, each in self._frames if at > len(self.socket.got))

    @property
    def broken(self) -> Broken | None:
        """What the node cannot decrypt."""
        self.hear()
        return next((each for each in self.events if isinstance(each, Broken)), None)


def speaking(transport: str, socket: FakeTransport, *, initiating: bool, read: int = 0) -> Any:
    """Return the connection to a node that speaks "v1" or "v2"; it has read so much in plain."""
    if transport == "v1":
        return socket
    return EncryptingSocket(socket, initiating=initiating, read=read)


def check_wires(*nodes: Any) -> None:
    """Assert that no wire of nodes that encrypt has carried a frame."""
    for each in nodes:
        if isinstance(each, EncryptingSocket):
            assert MAGIC not in each.socket.got + each.socket.waiting


class PacketScene(Scene):
    """A scene whose nodes encrypt; its tests are those of a `Scene`."""

    client: Any
    upstream: Any

    def __init__(self, *arguments: Any, **others: Any) -> None:
        usual = {"client_transport": Transport.AUTO, "upstream_transport": Transport.AUTO}
        super().__init__(*arguments, **{**usual, **others})
        self.client = EncryptingSocket(self.client, initiating=True)
        self.upstream = EncryptingSocket(self.upstream, initiating=False)

    def answer(self) -> PacketScene:
        """Have the upstream accept, and both nodes do the handshake of the transport."""
        self.relay.upstream.makeConnection(self.upstream.socket)
        assert self.dialling is not None
        self.dialling.callback(self.relay.upstream)
        self.client.begin()
        for _ in range(2):
            self.upstream.read()
            self.client.read()
        return self

    @property
    def calls(self) -> list[Any]:
        """The delayed calls that are waiting; those for the handshake may, while the session is."""
        transports = None if self.ended else self.relay._transports
        own = [] if transports is None else [each._call for each in transports._limits._calls]
        return [each for each in super().calls if each not in own]

    def check_wires(self) -> None:
        """Assert that neither wire has carried a frame."""
        check_wires(self.client, self.upstream)


SCENES: dict[str, type[Scene]] = {"v1": Scene, "v2": PacketScene}
