"""Mode terminate over encrypted legs (BIP324), with nodes in memory."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")

from lbcproxy.session import EndCause, LegTransport, Transports
from lbcproxy.session.events import Delivered, SessionEvent, TransportsAgreed
from lbcproxy.transport.frames import AcceptingTransport, Carrier, FrameTransport
from lbcproxy.transport.key_log import LoggedSecret
from lbcproxy.transport.kind import Transport
from lbcproxy.transport.messages import MAX_CONTENTS
from lbcproxy.wire import Framer
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.handshake import VerAck
from tests.proxy.termination import CLIENT, INV, NODE, Scene, encoded
from tests.proxy.transports import NETWORK, FakeTransport, Recording

V1 = LegTransport()
MAGIC = NETWORK.magic


class Node:
    """A node that reads and writes through a carrier; without one, plain frames."""

    def __init__(self, transport: FakeTransport, carrier: Carrier | None) -> None:
        self.transport, self.carrier = transport, carrier
        self.wire = b""
        """All bytes of both directions."""
        self.frames = b""
        self._read = 0

    def begin(self) -> None:
        """Send what comes first."""
        if self.carrier is not None:
            self._arrive(self.carrier.begin())

    def says(self, *things: Any) -> None:
        """Send messages."""
        data = b"".join(map(encoded, things))
        self._arrive(data if self.carrier is None else self.carrier.send(data))

    def read(self) -> bool:
        """Read what came; return whether anything did."""
        self.transport.read()
        new, self._read = self.transport.got[self._read :], len(self.transport.got)
        self.wire += new
        if self.carrier is None:
            self.frames += new
        else:
            received = self.carrier.receive(new)
            assert received.broken is None
            self.frames += received.frames
            self._arrive(received.output)
        return bool(new)

    @property
    def commands(self) -> list[str]:
        """The commands that it got."""
        return [each.command for each in Framer(NETWORK).feed(self.frames)]  # type: ignore[union-attr]

    def _arrive(self, data: bytes) -> None:
        self.wire += data
        if data:
            self.transport.arrive(data)


class Initiator(FrameTransport):
    """A node that encrypts, and may send decoys."""

    def decoy(self, size: int) -> bytes:
        """Return a packet that is to be ignored."""
        return self._transport.packet(bytes(size), decoy=True)


class Observed(Recording):
    """Keeps what is told of the transports, and with which of them each message was delivered."""

    def __init__(self) -> None:
        super().__init__()
        self.agreed: list[tuple[LegTransport, LegTransport]] = []
        self.told: list[str] = []

    def handle(self, event: SessionEvent) -> None:
        """Keep it."""
        super().handle(event)
        if isinstance(event, TransportsAgreed):
            self.agreed.append((event.info.client_transport, event.info.upstream_transport))
        if isinstance(event, Delivered):
            kinds = (event.info.client_transport.kind, event.info.upstream_transport.kind)
            self.told.append("/".join(kinds))


class Encrypted:
    """A session whose nodes have shaken hands."""

    def __init__(self, client: Transport, upstream: Transport, configured: Any = None) -> None:
        self.observer = Observed()
        self.logged: list[LoggedSecret] = []
        client_setting, upstream_setting = configured or (client, upstream)
        self.scene = Scene(
            before=[self.observer],
            settings={
                "client_transport": client_setting,
                "upstream_transport": upstream_setting,
                "log_key": self.logged.append,
            },
        )
        encrypts = client is Transport.V2
        carrier = Initiator(MAGIC, initiating=True) if encrypts else None
        self.client = Node(self.scene.client, carrier)
        self.client.begin()
        self.settle(self.client)
        self.client.says(CLIENT)
        self.scene.answer()
        accepting = AcceptingTransport(MAGIC, only_v2=True)
        self.node = Node(self.scene.upstream, accepting if upstream is Transport.V2 else None)
        self.settle()
        self.node.says(NODE, VerAck())
        self.settle()
        self.client.says(VerAck())
        self.settle()

    def settle(self, *nodes: Node) -> None:
        """Run until nothing happens any more."""
        while any(each.read() for each in nodes or (self.client, self.node)):
            self.scene.clock.advance(0)


@pytest.mark.parametrize(
    ("client", "upstream", "configured"),
    [
        *((*both, None) for both in itertools.product((Transport.V1, Transport.V2), repeat=2)),
        (Transport.V1, Transport.V1, (Transport.AUTO, Transport.AUTO)),
        (Transport.V2, Transport.V1, (Transport.AUTO, Transport.AUTO)),
        (Transport.V2, Transport.V2, (Transport.AUTO, Transport.V2)),
    ],
)
def test_each_leg_has_its_transport(client: Transport, upstream: Transport, configured: Any):
    """Messages pass as ever. Observers know the transports before the first of them."""
    both = Encrypted(client, upstream, configured)
    both.client.says(INV)
    both.settle()
    assert both.client.commands == ["version", "verack"]
    assert both.node.commands == ["version", "verack", "inv"]
    legs = [(both.client, client), (both.node, upstream)]
    ids = [node.carrier.session_id if node.carrier else None for node, _ in legs]
    for (node, transport), session_id in zip(legs, ids, strict=True):
        assert (MAGIC in node.wire) is (transport is Transport.V1)
        assert (session_id is None) is (transport is Transport.V1)
    assert both.observer.told == ["/".join((client, upstream))] * len(both.observer.told)
    expected = [
        V1 if session_id is None else LegTransport(Transport.V2, session_id) for session_id in ids
    ]
    assert both.scene.session._core.transports == Transports(*expected)
    if Transport.V2 in (client, upstream):
        assert list(both.observer.agreed[-1]) == expected
        assert len(both.observer.agreed) == 1 + (upstream is Transport.V2)
        assert both.observer.agreed[0][0] == expected[0]
    else:
        assert both.observer.agreed == []


def test_the_keys_of_both_legs_are_logged():
    """Once each, as the nodes have them."""
    both = Encrypted(Transport.V2, Transport.V2)
    carriers = [both.client.carrier, both.node.carrier]
    assert both.logged == [each.logged_secret for each in carriers if each is not None]
    assert len({each.public_key for each in both.logged}) == 2


@pytest.mark.parametrize("side", ["client", "node"])
def test_a_changed_packet_ends_both(side: str):
    """With the leg and the place."""
    both = Encrypted(Transport.V2, Transport.V2)
    node: Node = getattr(both, side)
    assert node.carrier is not None
    packet = bytearray(node.carrier.send(encoded(INV)))
    packet[-1] ^= 1
    node.transport.arrive(bytes(packet))
    both.scene.settle()
    both.scene.assert_over()
    [summary] = both.observer.summaries
    name = "client" if side == "client" else "upstream"
    assert summary.end.cause is EndCause.PROTOCOL
    assert f"{name}: encrypted transport: packet" in summary.why
    assert summary.why.endswith("has a wrong tag")


def test_a_client_that_must_encrypt_and_does_not():
    """Is disconnected, and the upstream never dialled."""
    settings = {"client_transport": Transport.V2}
    scene = Scene(settings=settings).says("client", CLIENT).settle()
    assert scene.dials == []
    assert scene.why == "client: encrypted transport: the other side speaks v1"
    scene.assert_over()


def test_a_packet_that_is_not_complete_counts():
    """Towards the budget of all sessions."""
    both = Encrypted(Transport.V2, Transport.V1)
    assert both.client.carrier is not None
    before = both.scene.session.held
    packet = both.client.carrier.send(encoded(INV))
    both.client.transport.arrive(packet[:-1])
    assert both.scene.session.held == before + len(packet) - 1
    assert both.scene.session.runtime.budget.held == both.scene.session.held
    both.client.transport.arrive(packet[-1:])
    assert both.scene.session.held == before


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ([b""], "client: protocol negotiation timeout"),
        ([bytes(64)], "client: protocol negotiation timeout"),
        ([bytes(64), *([b"\0"] * 4_110)], "client: protocol negotiation timeout"),
        ([bytes(64), bytes(4_111)], "no terminator in 4,111 bytes after the public key"),
    ],
    ids=["silence", "a key and silence", "byte by byte", "no terminator"],
)
def test_a_client_that_does_not_finish_its_handshake(sent: list[bytes], words: str):
    """Is disconnected in time, with a reason; the upstream is never dialled."""
    scene = Scene(settings={"client_transport": Transport.AUTO})
    for each in sent:
        scene.client.arrive(each)
        scene.clock.advance(1)
        scene.settle()
        if not scene.client.connected:
            break
        assert scene.session.held <= 64 + 4_111
    for _ in range(40):
        scene.clock.advance(1)
        scene.settle()
    scene.assert_over()
    assert scene.dials == []
    assert words in scene.why


def test_decoys_are_ignored():
    """However many; they leave nothing behind, and are no sign of life."""
    both = Encrypted(Transport.V2, Transport.V2)
    carrier = both.client.carrier
    assert isinstance(carrier, Initiator)
    held = both.scene.session.held
    for _ in range(500):
        both.client.transport.arrive(carrier.decoy(100))
        both.scene.clock.advance(1)
    assert both.scene.session.held == held
    both.settle()
    assert both.scene.ended == [both.scene.session]


@pytest.mark.parametrize("size", [MAX_CONTENTS - 13, MAX_CONTENTS - 12])
@pytest.mark.parametrize("client", [Transport.V1, Transport.V2])
def test_a_message_that_no_packet_can_hold_ends_both(client: Transport, size: int):
    """As in the other modes; one byte less passes."""
    upstream = Transport.V2 if client is Transport.V1 else Transport.V1
    both = Encrypted(client, upstream)
    sender, receiver = both.client, both.node
    if upstream is Transport.V1:
        sender, receiver = both.node, both.client
    sender.says(frame(MAGIC, "nobodyknows", bytes(size)))
    both.settle()
    if size == MAX_CONTENTS - 13:
        assert receiver.commands[-1] == "nobodyknows"
        assert both.scene.ended == []
        return
    assert "nobodyknows" not in receiver.commands
    both.scene.settle()
    [summary] = both.observer.summaries
    assert summary.end.cause is EndCause.NOT_EXPRESSIBLE
    assert "'nobodyknows' of 16,777,203 bytes" in summary.why
    [lost] = [each.entries[0] for each in both.observer.deliveries if len(each.raw) > size]
    assert (lost.command, lost.verdict) == ("nobodyknows", "drop")
