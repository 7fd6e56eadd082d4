"""A TCP transport in memory that behaves as Twisted's, and a relay between two of them."""

import itertools
from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionAborted, ConnectionDone
from twisted.internet.error import ConnectionLost as LostConnection
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from lbcproxy import networks
from lbcproxy.endpoint import Endpoint
from lbcproxy.proxy import Relay, RelaySettings, Runtime
from lbcproxy.proxy.budget import Budget
from lbcproxy.session import Delivery, Direction, Observer, SessionInfo, SessionSummary
from lbcproxy.session.events import (
    Delivered,
    DirectionClosed,
    SessionEnded,
    SessionEvent,
    SessionReset,
    SessionStarted,
    UpstreamConnected,
)

__all__ = [
    "LINGER",
    "NETWORK",
    "STOP_LINGER",
    "WATERMARK",
    "FakeTransport",
    "Recording",
    "Scene",
    "a_dial",
    "settings_of",
]

NETWORK = networks.get("lbry-regtest")
UPSTREAM = Endpoint("10.0.0.3", 9246)
RUNTIME = frozenset(Runtime.__struct_fields__)
WATERMARK = 65_536
LINGER, STOP_LINGER = 60, 5
"""Seconds that a scene's nodes have to read what waits: when a node closed, when we stop."""
FIN, RST = object(), object()


class FakeTransport:
    """A connection to a node, which is simulated by `arrive`, `finish`, `reset` and `read`.

    As Twisted's: above 64 KiB waiting the producer is paused, and resumed when nothing waits; with
    a producer registered nothing is closed; an abort is told in the next turn of the clock.
    """

    def __init__(self, clock: Clock, protocol: Any, port: int = 1) -> None:
        self.clock, self.protocol, self.port = clock, protocol, port
        self.incoming: list[Any] = []
        self.waiting, self.got = b"", b""
        self.reading = self.connected = True
        self.disconnecting = self.write_ending = self.fin_sent = self.aborted = False
        self.producer: Any = None
        self.producer_paused = False
        self.calls: list[str] = []

    # What the node does.

    def arrive(self, *items: Any) -> None:
        """The node sends bytes; they are read now, or when reading goes on."""
        self.incoming += items
        self.deliver()

    def finish(self) -> None:
        """The node sends a FIN."""
        self.arrive(FIN)

    def reset(self) -> None:
        """The node sends an RST, which is noticed without reading."""
        self._lost(LostConnection())

    def deliver(self) -> None:
        """Read what has arrived."""
        while self.incoming and self.reading and self.connected:
            item = self.incoming.pop(0)
            if item is FIN:
                self.reading = False
                self.protocol.readConnectionLost()
            else:
                self.protocol.dataReceived(item)

    def read(self, most: int | None = None) -> None:
        """The node reads, at most so many bytes."""
        if not self.connected or self.aborted:
            return
        most = len(self.waiting) if most is None else most
        self.got, self.waiting = self.got + self.waiting[:most], self.waiting[most:]
        if self.waiting:
            return
        if self.producer is not None and self.producer_paused:
            self.producer_paused = False
            self.producer.resumeProducing()
        elif self.disconnecting:
            self._lost(ConnectionDone())
        elif self.write_ending and not self.fin_sent:
            self.fin_sent = True
            self.protocol.writeConnectionLost()

    # What Twisted's protocols call.

    def write(self, data: bytes) -> None:
        self.calls.append("write")
        if not self.connected or self.fin_sent:
            return
        self.waiting += data
        if self.producer is not None and len(self.waiting) > WATERMARK:
            self.producer_paused = True
            self.producer.pauseProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        assert self.producer is None
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.calls.append("pause")
        self.reading = False

    def resumeProducing(self) -> None:
        self.calls.append("resume")
        if self.connected and not self.disconnecting:
            self.reading = True

    def loseWriteConnection(self) -> None:
        self.calls.append("finish")
        self.write_ending = True

    def loseConnection(self) -> None:
        self.calls.append("close")
        if self.connected and not self.disconnecting:
            self.reading = False
            if self.fin_sent:
                self._lost(ConnectionDone())
            else:
                self.disconnecting = True

    def abortConnection(self) -> None:
        self.calls.append("abort")
        if self.connected and not self.aborted:
            self.aborted, self.reading = True, False
            self.clock.callLater(0, self._lost, ConnectionAborted())

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "10.0.0.1", self.port)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "10.0.0.2", self.port)

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.calls.append(f"nodelay {enabled}")

    def _lost(self, reason: Exception) -> None:
        if not self.connected:
            return
        self.connected = self.reading = False
        if self.producer is not None:
            self.producer.stopProducing()
        self.producer = None
        self.protocol.connectionLost(Failure(reason))


class Recording:
    """Keeps the events of all sessions in one list; raises at one of them if it is asked to."""

    def __init__(self, fails_at: str = "") -> None:
        self.events: list[tuple[Any, ...]] = []
        self.summaries: list[SessionSummary] = []
        self.deliveries: list[Delivery] = []
        self.on_passed: Any = lambda: None
        self._fails_at = fails_at

    def session_started(self, _info: SessionInfo) -> "Recording":
        return self

    def handle(self, event: SessionEvent) -> None:
        match event:
            case Delivered():
                self.on_passed()
                self.deliveries += event.deliveries
                raw = b"".join(each.raw for each in event.deliveries)
                self.record("passed", event.direction, raw)
            case SessionStarted():
                self.record("started")
            case UpstreamConnected():
                self.record("upstream connected", event.info.local)
            case DirectionClosed():
                self.record("finished", event.direction)
            case SessionReset():
                self.record("reset", event.direction)
            case SessionEnded():
                self.summaries.append(event.summary)
                self.record("ended", event.summary.why)

    def record(self, *event: Any) -> None:
        self.events.append(event)
        if event[0] == self._fails_at:
            raise RuntimeError("a defect in an observer")

    @property
    def whys(self) -> list[str]:
        """Why sessions ended."""
        return [each.why for each in self.summaries]

    def passed_bytes(self, direction: Direction) -> bytes:
        """All bytes of `Delivered` events in a direction."""
        return b"".join(
            event[2] for event in self.events if event[0] == "passed" and event[1] is direction
        )


def settings_of(
    scene: Any, before: Sequence[Observer], **others: Any
) -> tuple[RelaySettings, Runtime]:
    """Return the settings and runtime of a session; the scene has the clock and is dialled."""
    runtime: dict[str, Any] = {
        "budget": Budget(1 << 30),
        "dial": lambda _: scene,
        "observers": (*before, scene.observer),
        "clock": scene.clock,
        "now": lambda: int(scene.clock.seconds() * 1e9) + 1,
        "numbers": itertools.count(1),
    }
    runtime |= {name: others.pop(name) for name in tuple(others) if name in RUNTIME}
    settings = {"listen": Endpoint("127.0.0.1", 9), "network": NETWORK, "upstreams": (UPSTREAM,)}
    return RelaySettings(**{**settings, **others}), Runtime(**runtime)


def a_dial() -> Deferred[Any]:
    """Return what an endpoint's `connect` returns; when cancelled, it fails as Twisted's does."""
    error = ConnectingCancelledError(IPv4Address("TCP", UPSTREAM.host, UPSTREAM.port))
    return Deferred(lambda deferred: deferred.errback(error))


class Scene:
    """A relay whose client is connected and whose upstream is being dialled.

    It is the relay's owner and the endpoint that it dials.
    """

    def __init__(
        self,
        observer: Recording | None = None,
        before: Sequence[Observer] = (),
        **others: Any,
    ) -> None:
        self.clock = Clock()
        self.observer = observer or Recording()
        self.ended: list[Relay] = []
        usual = {"stream_above": 65_536, "linger": LINGER, "stop_linger": STOP_LINGER}
        of_client = {name: others.pop(name) for name in ("answer", "reached") if name in others}
        settings, runtime = settings_of(self, before, **{**usual, **others})
        self.relay = Relay(1, settings, runtime, self, **of_client)
        self.client = FakeTransport(self.clock, self.relay.client, 1)
        self.upstream = FakeTransport(self.clock, self.relay.upstream, 2)
        self.dialling: Deferred[Any] | None = None
        self.relay.client.makeConnection(self.client)

    leads_to = UPSTREAM
    """What it connects to, as an endpoint."""

    def connect(self, factory: Any) -> Deferred[Any]:
        """Begin to dial, as an endpoint."""
        self.dialling = a_dial()
        return self.dialling

    def session_ended(self, relay: Relay) -> None:
        """Record the end, as the owner."""
        self.ended.append(relay)

    def answer(self) -> "Scene":
        """Have the upstream accept."""
        self.relay.upstream.makeConnection(self.upstream)
        self.dialling.callback(self.relay.upstream)
        return self

    def settle(self, *, reading: Sequence[FakeTransport] | None = None) -> None:
        """Run until nothing happens any more: nodes read, bytes arrive, due calls are made."""
        before = None
        while before != (before := self._state()):
            for transport in (self.client, self.upstream):
                transport.deliver()
                if reading is None or transport in reading:
                    transport.read()
            self.clock.advance(0)

    def _state(self) -> tuple[object, ...]:
        both = (self.client, self.upstream)
        return (
            [(each.connected, each.reading, each.fin_sent, len(each.got)) for each in both],
            [(len(each.calls), len(each.incoming), len(each.waiting)) for each in both],
            self.calls_left,
        )

    @property
    def calls(self) -> list[Any]:
        """The delayed calls that are waiting."""
        return self.clock.getDelayedCalls()

    @property
    def calls_left(self) -> int:
        """How many delayed calls are waiting."""
        return len(self.calls)
