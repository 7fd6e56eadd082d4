"""A session in mode terminate between two nodes in memory."""

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from lbcproxy.endpoint import Endpoint
from lbcproxy.proxy.modes.terminate import TerminatingSession
from lbcproxy.proxy.settings import IdentityOverrides
from lbcproxy.session import Direction, Observer
from lbcproxy.transport.kind import Transport
from lbcproxy.wire import Codec, Frame, Framer
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.handshake import VerAck, Version
from lbcproxy.wire.messages.inventory import Inv, InventoryVector
from lbcproxy.wire.record import MessageRecord
from tests.peer.builders import version
from tests.proxy.packets import check_wires, speaking
from tests.proxy.transports import (
    NETWORK,
    UPSTREAM,
    FakeTransport,
    Recording,
    a_dial,
    settings_of,
)

UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT


CLIENT = version(70013, services=4, user_agent=b"/client:1/", start_height=7, nonce=1, relay=False)


NODE = version(70013, services=77, user_agent=b"/node:2/", start_height=900, nonce=2)


INV = Inv((InventoryVector(1, bytes(32)),))


UNKNOWN = frame(NETWORK.magic, "nobodyknows", b"\xff" * 40)


class EntryRecording(Recording):
    """Keeps the entries of what passed as well."""

    @property
    def verdicts(self) -> list[str]:
        """Each entry in a line: its direction, command and verdict."""
        return [
            f"{each.entries[0].direction.arrow} {each.entries[0].command} {each.entries[0].verdict}"
            for each in self.deliveries
            if each.entries
        ]


class Scene:
    """A termination whose client has connected; it is its owner, and the endpoint it dials."""

    def __init__(
        self,
        *,
        before: Sequence[Observer] = (),
        number: int = 1,
        clock: Clock | None = None,
        upstreams: tuple[Endpoint, ...] = (UPSTREAM,),
        settings: Any = None,
        transport: str = "v1",
        **shown: Any,
    ) -> None:
        self.clock = clock or Clock()
        self.observer = EntryRecording()
        self.ended: list[Any] = []
        self.dials: list[tuple[Any, Deferred[Any]]] = []
        own = {"stream_above": None, "upstreams": upstreams, "shown": IdentityOverrides(**shown)}
        legs = dict.fromkeys(("client_transport", "upstream_transport"), Transport(transport))
        made, runtime = settings_of(self, before, **{**own, **legs, **(settings or {})})
        self.session = TerminatingSession(number, made, runtime, self)
        self._transport = transport
        socket = FakeTransport(self.clock, self.session.client, 1)
        self.client = speaking(transport, socket, initiating=True)
        self.upstream: Any = None
        self.session.client.makeConnection(socket)

    leads_to = UPSTREAM
    """What it connects to, as an endpoint."""

    def connect(self, factory: Any) -> Deferred[Any]:
        """Begin to dial, as an endpoint."""
        dialling = a_dial()
        self.dials.append((factory, dialling))
        return dialling

    def session_ended(self, relay: Any) -> None:
        """Record the end, as the owner."""
        self.ended.append(relay)

    # What the nodes do.

    def answer(self) -> "Scene":
        """Have the upstream accept."""
        factory, dialling = self.dials[-1]
        peer = factory.buildProtocol(None)
        socket = FakeTransport(self.clock, peer, 2)
        self.upstream = speaking(self._transport, socket, initiating=False)
        peer.makeConnection(socket)
        dialling.callback(peer)
        return self

    def says(self, side: str, *things: MessageRecord | bytes) -> "Scene":
        """Have a node send messages in one segment."""
        getattr(self, side).arrive(b"".join(map(encoded, things)))
        return self

    def greet(self, client: Version = CLIENT, node: Version = NODE, *offers: Any) -> "Scene":
        """Complete both handshakes, and forget what the nodes received."""
        self.says("client", client)
        self.answer()
        self.says("upstream", node, *offers, VerAck())
        self.says("client", *offers, VerAck())
        self.settle()
        assert self.session.client.is_ready
        assert self.session.upstream is not None
        assert self.session.upstream.is_ready
        self.client.got = self.upstream.got = b""
        self.observer.deliveries.clear()
        return self

    def settle(self) -> "Scene":
        """Run until nothing happens any more: nodes read, bytes arrive, due calls are made."""
        before: Any = None
        while before != (before := [self.state(each) for each in (self.client, self.upstream)]):
            for transport in (self.client, self.upstream):
                if transport is not None:
                    transport.deliver()
                    transport.read()
            self.clock.advance(0)
        return self

    @staticmethod
    def state(transport: Any) -> tuple[Any, ...]:
        if transport is None:
            return ()
        return transport.connected, len(transport.got), len(transport.incoming), transport.reading

    # What is seen.

    def commands(self, side: str) -> list[str]:
        """The commands that a node was sent, whether it has read them or not."""
        return [each.command for each in frames(getattr(self, side))]

    def version_shown(self, side: str) -> Version:
        """The `version` that a node was sent."""
        [found] = [each for each in frames(getattr(self, side)) if each.command == "version"]
        record: Any = Codec(NETWORK, 70016).decode("version", found.raw[24:])
        return record

    def check_wires(self) -> None:
        """Assert that no wire of a node that encrypts has carried a frame."""
        check_wires(self.client, self.upstream)

    @property
    def why(self) -> str:
        """Why the session has ended."""
        [summary] = self.observer.summaries
        return summary.why

    def assert_over(self) -> None:
        """Nothing is left: no connection and no call, and the end was reported once."""
        assert self.ended == [self.session]
        assert len(self.observer.summaries) == 1
        assert self.clock.getDelayedCalls() == []
        assert not self.client.connected
        assert self.upstream is None or not self.upstream.connected


def encoded(thing: MessageRecord | bytes) -> bytes:
    """The frame of a message as a node of today writes it."""
    if isinstance(thing, bytes):
        return thing
    return frame(NETWORK.magic, thing.command, Codec(NETWORK, 70016).encode(thing))


def frames(transport: FakeTransport) -> list[Frame]:
    """What was written to a transport."""
    found = Framer(NETWORK).feed(transport.got + transport.waiting)
    assert all(isinstance(each, Frame) for each in found)
    return found  # type: ignore[return-value]


def other_side(side: str) -> str:
    """The other side."""
    return "upstream" if side == "client" else "client"


both_senders = pytest.mark.parametrize("sender", ["client", "upstream"])
