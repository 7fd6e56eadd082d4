"""A connection below any protocol: the calls of Twisted and of its owner, without a network."""

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer.connection import NOWHERE, Connection
from lbcproxy.session import LegTransport
from lbcproxy.transport.kind import Transport


class Socket:
    """A socket that accepts so many bytes at once, or fails."""

    def __init__(self, accepts: int) -> None:
        self.accepts = accepts
        self.sent = b""

    def send(self, data: bytes) -> int:
        if self.accepts < 0:
            raise BlockingIOError
        self.sent += data[: self.accepts]
        return min(self.accepts, len(data))


class Bare:
    """A transport with what every transport has. It records the calls."""

    def __init__(self, peer: Any = None) -> None:
        self.peer = peer or IPv4Address("TCP", "10.0.0.1", 9246)
        self.calls: list[Any] = []
        self.protocol: Any = None

    def __getattr__(self, name: str) -> Any:
        if name not in {
            "abortConnection",
            "loseConnection",
            "pauseProducing",
            "registerProducer",
            "resumeProducing",
            "unregisterProducer",
            "write",
        }:
            raise AttributeError(name)

        def call(*arguments: Any) -> None:
            self.calls.append((name, *arguments) if arguments else name)

        return call

    def getPeer(self) -> Any:
        return self.peer

    def getHost(self) -> Any:
        return IPv6Address("TCP", "::1", 50_000)


class Tcp(Bare):
    """A TCP transport with an empty buffer, whose socket accepts everything."""

    def __init__(self, accepts: int = 1 << 30) -> None:
        super().__init__()
        self.dataBuffer = b""
        self._tempDataLen = 0
        self.bufferSize = 65_536
        self.socket = Socket(accepts)

    def getHandle(self) -> Socket:
        return self.socket

    def setTcpNoDelay(self, on: bool) -> None:
        self.calls.append(("setTcpNoDelay", on))

    def setTcpKeepAlive(self, on: bool) -> None:
        self.calls.append(("setTcpKeepAlive", on))

    def loseWriteConnection(self) -> None:
        self.calls.append("loseWriteConnection")


class Tried(Connection):
    """A connection that records its events."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.events: list[Any] = []

    def opened(self) -> None:
        self.events.append("opened")

    def received(self, data: bytes) -> None:
        self.events.append(len(data))

    def agreed(self) -> None:
        self.events.append("agreed")

    def broken(self, broken: Any) -> None:
        self.events.append(broken)

    def finished(self) -> None:
        self.events.append("finished")

    def closed(self, *, reset: bool) -> None:
        self.events.append("reset" if reset else "closed")

    def filled(self) -> None:
        self.events.append("filled")

    def drained(self) -> None:
        self.events.append("drained")


def connected(wire: Bare | None = None) -> tuple[Tried, Any]:
    """Return a connection that was just established, and its transport without calls so far."""
    wire = Tcp() if wire is None else wire
    connection = Tried()
    connection.makeConnection(wire)
    wire.calls.clear()
    connection.events.clear()
    return connection, wire


def test_a_connection_begins_without_delay_and_as_a_producer():
    """So that it is told when too much waits, and notices a node that lost its power."""
    connection, wire = Tried(), Tcp()
    assert not connection.is_open
    connection.makeConnection(wire)
    assert connection.is_open
    assert connection.events == ["opened"]
    assert wire.calls == [
        ("setTcpNoDelay", True),
        ("setTcpKeepAlive", True),
        ("registerProducer", connection, True),
    ]
    bare = Bare()
    Tried().makeConnection(bare)
    assert [each[0] for each in bare.calls] == ["registerProducer"]


def test_a_second_transport_is_aborted():
    """The first one goes on."""
    connection, _ = connected()
    second = Bare()
    connection.makeConnection(second)
    assert second.calls == ["abortConnection"]
    assert (connection.is_open, connection.events) == (True, [])


def test_the_address_is_as_given_or_that_of_the_transport():
    """Before there is a transport, or if it has none, it is nowhere."""
    connection = Tried()
    assert (connection.address, connection.local_address) == (NOWHERE, NOWHERE)
    assert Endpoint("", 0) == NOWHERE
    connection.makeConnection(Tcp())
    assert connection.address == Endpoint("10.0.0.1", 9246)
    assert connection.local_address == Endpoint("::1", 50_000)
    assert repr(connection) == "<Tried 10.0.0.1:9246>"
    unix, _ = connected(Bare(UNIXAddress("/x")))
    assert unix.address == NOWHERE
    given = Tried(Endpoint("1.2.3.4", 5))
    assert given.address == Endpoint("1.2.3.4", 5)
    given.makeConnection(Tcp())
    assert given.address == Endpoint("1.2.3.4", 5)


@pytest.mark.parametrize(
    ("accepts", "rest"),
    [
        (3, []),
        (100, []),
        (2, [("write", b"c")]),
        (0, [("write", b"abc")]),
        (-1, [("write", b"abc")]),
    ],
)
def test_what_the_system_accepts_is_sent_at_once(accepts: int, rest: list[Any]):
    """The transport gets the rest."""
    connection, wire = connected(Tcp(accepts))
    connection.write(b"abc")
    assert wire.socket.sent == b"abc"[: max(accepts, 0)]
    assert wire.calls == rest


@pytest.mark.parametrize(("buffer", "waiting"), [(b"x", 0), (b"", 1), (b"x", 1)])
def test_what_waits_is_not_overtaken(buffer: bytes, waiting: int):
    """Everything goes through the transport then, as with one that is not TCP."""
    wire = Tcp()
    wire.dataBuffer, wire._tempDataLen = buffer, waiting
    connection, _ = connected(wire)
    connection.write(b"abc")
    assert (wire.socket.sent, wire.calls) == (b"", [("write", b"abc")])
    for name in ("dataBuffer", "_tempDataLen"):
        other, wire = connected()
        delattr(wire, name)  # it cannot be known what waits
        other.write(b"abc")
        assert (wire.socket.sent, wire.calls) == (b"", [("write", b"abc")])


def test_nothing_is_written_before_the_beginning_or_after_the_end():
    """Nor anything else done."""
    for prepare in ("finish", "close", "abort", None):
        connection, wire = connected()
        if prepare is None:
            connection.connectionLost(Failure(ConnectionDone()))
        else:
            getattr(connection, prepare)()
        wire.calls.clear()
        connection.write(b"abc")
        connection.finish()
        assert (wire.socket.sent, wire.calls) == (b"", [])
    early = Tried()
    for name in ("finish", "close", "abort"):
        getattr(early, name)()
    early.write(b"abc")
    assert not early.aborted


def test_a_connection_ends_in_three_ways():
    """Each time it is no longer a producer, which would keep the transport open."""
    connection, wire = connected()
    connection.finish()
    assert wire.calls == ["unregisterProducer", "loseWriteConnection"]
    connection.close()
    assert wire.calls[2:] == ["loseConnection"]
    connection.abort()
    assert wire.calls[3:] == ["abortConnection"]
    assert connection.aborted
    for name, call in (("close", "loseConnection"), ("abort", "abortConnection")):
        connection, wire = connected()
        getattr(connection, name)()
        assert wire.calls == ["unregisterProducer", call]
        assert connection.aborted is (name == "abort")
    half, bare = connected(Bare())
    half.finish()
    assert bare.calls == ["unregisterProducer"]  # it cannot be half closed


@pytest.mark.parametrize(
    ("error", "event"), [(ConnectionDone(), "closed"), (ConnectionLost(), "reset")]
)
def test_the_end_is_passed_on(error: Exception, event: str):
    """In order, or a reset."""
    connection, _ = connected()
    connection.connectionLost(Failure(error))
    assert (connection.events, connection.is_open) == ([event], False)


def test_each_reason_to_stop_reading_has_a_name():
    """Reading continues when none is left."""
    connection, wire = connected()
    connection.resume("a")
    connection.pause("a")
    connection.pause("b")
    connection.pause("a")
    assert wire.calls == ["pauseProducing"]
    connection.resume("a")
    connection.resume("a")
    assert wire.calls == ["pauseProducing"]
    connection.resume("b")
    assert wire.calls == ["pauseProducing", "resumeProducing"]


def test_a_connection_may_be_paused_before_it_begins():
    """It begins so."""
    connection, wire = Tried(), Bare()
    connection.pause("a")
    connection.resume("a")
    connection.pause("b")
    connection.makeConnection(wire)
    assert [each if isinstance(each, str) else each[0] for each in wire.calls] == [
        "registerProducer",
        "pauseProducing",
    ]


def test_after_the_node_has_finished_there_is_nothing_to_read():
    """The transport would complain."""
    connection, wire = connected()
    connection.pause("a")
    connection.readConnectionLost()
    assert connection.events == ["finished"]
    connection.resume("a")
    connection.pause("b")
    assert wire.calls == ["pauseProducing"]
    for lost in (True, False):
        other, wire = connected()
        other.pause("a")
        if lost:
            other.connectionLost(Failure(ConnectionDone()))
        other.resume("a")
        other.pause("b")
        assert len(wire.calls) == (1 if lost else 3)


def test_back_pressure_is_passed_on():
    """And remembered."""
    connection, _ = connected()
    assert not connection.full
    connection.pauseProducing()
    assert connection.full
    connection.resumeProducing()
    assert not connection.full
    assert connection.events == ["filled", "drained"]
    connection.stopProducing()
    connection.writeConnectionLost()
    assert connection.events == ["filled", "drained"]


def test_more_is_read_at_once_while_the_node_sends_much():
    """The payload of two packets of a capture, after a full read of 64 KiB."""
    connection, wire = connected()
    wire.bufferSize = 5
    connection.dataReceived(bytes(1))
    assert wire.bufferSize == 5
    connection.events.clear()
    sizes = []
    for size in (65_536, 130_990, 65_535, 1):
        connection.dataReceived(bytes(size))
        sizes.append(wire.bufferSize)
    assert connection.events == [65_536, 130_990, 65_535, 1]
    assert sizes == [130_990, 130_990, 65_536, 65_536]
    wire.bufferSize = 7
    connection.dataReceived(bytes(1))
    assert wire.bufferSize == 7  # it is only set when it changes
    other, bare = connected(Bare())
    other.dataReceived(bytes(65_536))
    assert not hasattr(bare, "bufferSize")


def test_a_transport_is_handed_over():
    """The other object begins as with a new connection; the first one has none any more."""
    first, wire = connected()
    second = Tried()
    first.hand_over(second)
    assert not first.is_open
    assert second.is_open
    assert wire.protocol is second
    assert wire.calls == [
        "unregisterProducer",
        ("setTcpNoDelay", True),
        ("setTcpKeepAlive", True),
        ("registerProducer", second, True),
    ]
    assert (first.events, second.events) == ([], ["opened"])


class Reversing:
    """A carrier that turns bytes around. It answers what it receives, and breaks at `!`."""

    session_id = None
    logged_secret = None
    buffered = 7

    def begin(self) -> bytes:
        return b"hello"

    def send(self, data: bytes) -> bytes:
        return data[::-1]

    def receive(self, data: bytes) -> tuple[bytes, bytes, str | None, bool]:
        agreed, self.session_id = self.session_id is None, b"id"
        return data[::-1].strip(b"!"), b"ok", "broken" if b"!" in data else None, agreed


def test_a_carrier_changes_what_is_sent_and_received():
    """It begins the connection, and may write by itself."""
    carrier: Any = Reversing()
    connection, wire = Tried(), Tcp()
    assert (connection.session_id, connection.carrier_buffer) == (None, 0)
    connection.carry_by(carrier)
    assert (connection.session_id, connection.carrier_buffer) == (None, 7)
    assert connection.leg_transport == LegTransport()
    connection.makeConnection(wire)
    assert wire.socket.sent == b"hello"
    connection.write(b"abc")
    connection.dataReceived(b"xyz+")
    connection.dataReceived(b"!")
    assert wire.socket.sent == b"hellocbaokok"
    assert connection.events == ["opened", "agreed", 4, "broken"]
    assert connection.leg_transport == LegTransport(Transport.V2, b"id")
