"""A relay between nodes that encrypt, or do not: each node is played by a test."""

from __future__ import annotations

from typing import Any

from lbcproxy.session import Direction, End, Entry, LegTransport
from lbcproxy.session.events import SessionEvent, TransportsAgreed
from lbcproxy.transport.events import (
    GarbageReceived,
    PacketReceived,
    TransportEvent,
    VersionReceived,
)
from lbcproxy.transport.kind import Transport
from lbcproxy.transport.v2 import V2Transport
from lbcproxy.wire.envelope import frame
from tests.proxy.transports import NETWORK, FakeTransport, Recording, Scene
from tests.transport.sides import KEYS

__all__ = [
    "DOWN",
    "MAGIC",
    "UP",
    "VERSION_V1",
    "EncryptedScene",
    "Node",
    "TransportRecording",
    "end_of",
    "mixed",
    "ping",
    "ping_frame",
]

MAGIC = NETWORK.magic
UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
VERSION_V1 = frame(MAGIC, "version", bytes(86))


def ping(nonce: int) -> bytes:
    """Return the contents of a packet with a `ping`."""
    return bytes((18,)) + nonce.to_bytes(8, "little")


def ping_frame(nonce: int) -> bytes:
    """Return the v1 frame of the same."""
    return frame(MAGIC, "ping", nonce.to_bytes(8, "little"))


class TransportRecording(Recording):
    """Also keeps which transports were agreed."""

    def __init__(self) -> None:
        super().__init__()
        self.agreed: list[tuple[LegTransport, LegTransport]] = []

    def handle(self, event: SessionEvent) -> None:
        if isinstance(event, TransportsAgreed):
            self.agreed.append((event.info.client_transport, event.info.upstream_transport))
        super().handle(event)

    @property
    def entries(self) -> list[Entry]:
        """All entries, in order."""
        return [entry for each in self.deliveries for entry in each.entries]


class Node:
    """A node that encrypts, at the far end of one leg.

    It reads what the relay has written to it whenever a test asks for `events`.
    """

    def __init__(self, socket: FakeTransport, *, initiating: bool) -> None:
        self.socket = socket
        self.transport = V2Transport(MAGIC, initiating=initiating, key=KEYS[not initiating])
        self.seen: list[TransportEvent] = []
        self._read = 0

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.arrive(data)

    def begin(self, garbage: bytes = b"") -> None:
        """Send the public key and garbage."""
        self.send(self.transport.public_key + self.transport.garbage(garbage))

    def finish_handshake(self, contents: bytes = b"") -> None:
        """Send the terminator and the version packet."""
        self.send(self.transport.terminator() + self.transport.packet(contents))

    def send_packets(self, *contents: bytes) -> None:
        """Send a packet for each of these contents."""
        self.send(b"".join(map(self.transport.packet, contents)))

    def events(self) -> list[TransportEvent]:
        """Return what has happened since the last call."""
        self.socket.read()
        data, self._read = self.socket.got[self._read :], len(self.socket.got)
        found = self.transport.receive(data)
        self.seen += found
        return found

    def contents(self) -> list[bytes]:
        """Return the contents of the packets that have come since the last call."""
        return [each.contents for each in self.events() if isinstance(each, PacketReceived)]

    @property
    def is_open(self) -> bool:
        """Whether the version packet of the proxy has come."""
        return any(isinstance(each, VersionReceived) for each in self.seen)

    @property
    def garbage(self) -> list[int]:
        """The size of the garbage of the proxy, once it has ended."""
        return [each.size for each in self.seen if isinstance(each, GarbageReceived)]


class EncryptedScene(Scene):
    """A relay with `auto` on both legs, and two nodes that encrypt."""

    observer: TransportRecording

    def __init__(self, **others: Any) -> None:
        usual = {"client_transport": Transport.AUTO, "upstream_transport": Transport.AUTO}
        super().__init__(TransportRecording(), **{**usual, **others})
        self.a = Node(self.client, initiating=True)
        self.b = Node(self.upstream, initiating=False)
        self.dials = 1
        self.left_behind: list[float] = []
        """In how many seconds timers were due that were left when the session ended."""

    def connect(self, factory: Any) -> Any:
        """Count how often it is dialled."""
        self.dials = getattr(self, "dials", 0) + 1
        return super().connect(factory)

    def session_ended(self, relay: Any) -> None:
        """Note the timers that the session has left behind."""
        super().session_ended(relay)
        now = self.clock.seconds()
        self.left_behind = [
            each.getTime() - now
            for each in self.clock.getDelayedCalls()
            if each.getTime() > now  # an abort is told in the next turn
        ]

    def shake_hands(self, garbage: tuple[bytes, bytes] = (b"", b"")) -> EncryptedScene:
        """Have both nodes do the handshake of the transport, in the usual order."""
        self.a.begin(garbage[0])
        self.answer()
        self.b.events()
        self.b.begin(garbage[1])
        for node in (self.a, self.b):
            node.events()
            node.finish_handshake()
        for node in (self.a, self.b):
            node.events()
            assert node.is_open
        return self

    def redialled(self) -> FakeTransport:
        """Have the upstream accept again; return the new connection."""
        self.upstream = FakeTransport(self.clock, self.relay.upstream, 3)
        return self.answer().upstream


def end_of(scene: EncryptedScene) -> End:
    """Return why the session ended, once there has been time for that."""
    scene.settle()
    scene.clock.advance(100)
    scene.settle()
    [summary] = scene.observer.summaries
    assert scene.left_behind == []
    return summary.end


def mixed(encrypted: str, **settings: Any) -> EncryptedScene:
    """Return a scene in which one leg is encrypted, after the handshake."""
    kinds = (Transport.V2, Transport.V1) if encrypted == "client" else (Transport.V1, Transport.V2)
    legs = {"client_transport": kinds[0], "upstream_transport": kinds[1]}
    scene = EncryptedScene(**legs, **settings)
    scene.answer()
    if encrypted == "client":
        scene.a.begin()
        scene.a.events()
        scene.a.finish_handshake()
    else:
        scene.client.arrive(VERSION_V1)
        scene.b.events()
        scene.b.begin()
        scene.b.finish_handshake()
        assert [each[0] for each in scene.b.contents()] == [0]
    return scene
