"""One connection to a node, below any protocol: read, write, pause, close.

What Twisted leaves to its users is done here once: back-pressure, named reasons to stop reading,
half-closes, and closing in every order.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lbcproxy.endpoint import Endpoint
from lbcproxy.session import LegTransport
from lbcproxy.transport.events import Broken
from lbcproxy.transport.frames import Carrier
from lbcproxy.transport.key_log import LoggedSecret
from lbcproxy.transport.kind import Transport

__all__ = ["NOWHERE", "Connection"]


NOWHERE = Endpoint("", 0)
LARGE_READ = 2 * 65_495
"""Bytes read at once, at most, while a node sends much: the payload of two packets of a capture.

Measured with messages of 100 kB: a quarter more per second than with Twisted's 64 KiB. Above 128
KiB the C library maps new memory for each read.
"""
DEFAULT_READ = 65_536
"""Bytes read at once otherwise. Twisted has the same limit for what waits to be sent."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class Connection(Protocol):
    """One end of a connection to a node. A subclass handles its events.

    It may only be used in the reactor's thread.

    It registers as the producer of its own transport, so the transport tells it when too much waits
    to be sent. Each reason to stop reading has a name, so that one owner's `resume` does not undo
    another's `pause`.

    Args:
        address: The node's address, if the transport's own is not to be used.
    """

    def __init__(self, address: Endpoint | None = None) -> None:
        self._given_address = address
        self._carrier: Carrier | None = None
        self._pauses: set[str] = set()
        self._connected = False
        self._finished = False
        self._write_closed = False
        self._producing = False
        self._reads_large = False
        self.full = False
        """Whether more than 64 KiB wait to be sent."""
        self.aborted = False
        """Whether it was we who aborted the connection."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    @property
    def is_open(self) -> bool:
        """Whether the connection is established."""
        return self._connected

    @property
    def address(self) -> Endpoint:
        """The node's address, as given or as the transport has it; `Endpoint("", 0)` if neither."""
        if self._given_address is not None:
            return self._given_address
        return _endpoint(self._wire().getPeer()) if self.transport else NOWHERE

    @property
    def local_address(self) -> Endpoint:
        """Our own address of this connection; `Endpoint("", 0)` if the transport has none."""
        return _endpoint(self._wire().getHost()) if self.transport else NOWHERE

    def write(self, data: bytes) -> None:
        """Send bytes to the node. They are ignored once the sending side is closed."""
        if self._carrier is not None:
            data = self._carrier.send(data)
        self._write(data)

    def _write(self, data: bytes) -> None:
        if not data or not self._connected or self._write_closed:
            return
        wire = self._wire()
        sent = self._sent_at_once(wire, data)
        if sent < len(data):
            wire.write(data[sent:] if sent else data)

    def _sent_at_once(self, wire: Any, data: bytes) -> int:
        """Send what the system accepts now, unless something waits; return the number of bytes.

        By itself Twisted sends in the next iteration of the reactor, after all other work, with two
        more system calls: half of the time that a ping takes through a proxy. If sending fails here
        it fails again in the transport, which then ends the connection.
        """
        if getattr(wire, "dataBuffer", True) or getattr(wire, "_tempDataLen", True):
            return 0
        try:
            return int(wire.getHandle().send(data))
        except OSError:
            return 0

    def finish(self) -> None:
        """Close the sending side (FIN) after everything that waits. Reading continues."""
        if not self._connected or self._write_closed:
            return
        self._write_closed = True
        self._stop_producing()
        if hasattr(self.transport, "loseWriteConnection"):
            self._wire().loseWriteConnection()

    def close(self) -> None:
        """Close the connection once everything that waits has been sent."""
        if self._connected:
            self._write_closed = True
            self._stop_producing()
            self._wire().loseConnection()

    def abort(self) -> None:
        """Close the connection at once, with a reset."""
        if self._connected:
            self._write_closed = self.aborted = True
            self._stop_producing()
            self._wire().abortConnection()

    def hand_over(self, other: Connection) -> None:
        """Hand the transport to another object, which starts as with a new connection."""
        wire = self._wire()
        self._stop_producing()
        self._connected = False
        wire.protocol = other
        other.makeConnection(wire)

    def pause(self, reason: str) -> None:
        """Stop reading, for a reason. A paused connection does not notice that the node closes."""
        if not self._pauses and self._connected and not self._finished:
            self._wire().pauseProducing()
        self._pauses.add(reason)

    def resume(self, reason: str) -> None:
        """Remove a reason to stop reading. Reading continues when none is left."""
        if reason not in self._pauses:
            return
        self._pauses.remove(reason)
        if not self._pauses and self._connected and not self._finished:
            self._wire().resumeProducing()

    def carry_by(self, carrier: Carrier) -> None:
        """Have what is written and received carried in another form than as plain bytes.

        This has to be called before the connection is established.
        """
        self._carrier = carrier

    @property
    def session_id(self) -> bytes | None:
        """The session id of an encrypted connection (BIP324), once its keys are agreed."""
        return None if self._carrier is None else self._carrier.session_id

    @property
    def logged_secret(self) -> LoggedSecret | None:
        """What a key log has of an encrypted connection, once its keys are agreed."""
        return None if self._carrier is None else self._carrier.logged_secret

    @property
    def leg_transport(self) -> LegTransport:
        """How messages are carried: v1 until `agreed` says otherwise."""
        session_id = self.session_id
        return LegTransport() if session_id is None else LegTransport(Transport.V2, session_id)

    @property
    def carrier_buffer(self) -> int:
        """Bytes that wait in an encrypted connection: of a packet, or for the keys."""
        return 0 if self._carrier is None else self._carrier.buffered

    # Events, for a subclass to override. Each call may write, pause or close.

    def opened(self) -> None:
        """The connection is established."""

    def received(self, data: bytes) -> None:
        """Bytes arrived."""

    def agreed(self) -> None:
        """It is decided how a carrier carries messages; none has passed yet."""

    def broken(self, broken: Broken) -> None:
        """What arrives cannot be decrypted any further."""

    def finished(self) -> None:
        """The node will send nothing more (FIN); it may still read."""

    def closed(self, *, reset: bool) -> None:
        """The connection is gone; `reset` if it was reset or failed. This is the last call."""

    def filled(self) -> None:
        """More than 64 KiB wait to be sent to the node: write no more for now."""

    def drained(self) -> None:
        """Everything that waited has been sent: writing may continue."""

    # Calls of Twisted.

    def makeConnection(self, transport: Any) -> None:  # noqa: N802
        """Begin with the first transport. A second one is aborted, and the first continues."""
        if self.transport is None:
            super().makeConnection(transport)  # type: ignore[no-untyped-call]
        else:
            transport.abortConnection()

    def connectionMade(self) -> None:
        """Begin."""
        self._connected = True
        if hasattr(self.transport, "setTcpNoDelay"):
            self._wire().setTcpNoDelay(True)
        if hasattr(self.transport, "setTcpKeepAlive"):
            self._wire().setTcpKeepAlive(True)  # a node that lost its power sends no FIN
        self._producing = True
        self._wire().registerProducer(self, True)
        if self._pauses:
            self._wire().pauseProducing()
        if self._carrier is not None:
            self._write(self._carrier.begin())
        self.opened()

    def dataReceived(self, data: bytes) -> None:
        """Pass bytes on, and read more at once while the node sends much."""
        large = len(data) >= DEFAULT_READ
        if large is not self._reads_large:
            self._reads_large = large
            if hasattr(self.transport, "bufferSize"):
                self._wire().bufferSize = LARGE_READ if large else DEFAULT_READ
        if self._carrier is None:
            self.received(data)
        else:
            self._receive_by(self._carrier, data)

    def _receive_by(self, carrier: Carrier, data: bytes) -> None:
        frames, output, broken, agreed = carrier.receive(data)
        self._write(output)
        if agreed:
            self.agreed()
        if frames:
            self.received(frames)
        if broken is not None:
            self.broken(broken)

    def readConnectionLost(self) -> None:
        """Pass on that the node sends nothing more."""
        self._finished = True
        self.finished()

    def writeConnectionLost(self) -> None:
        """Do nothing: `finish` asked for it."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Pass on that the connection is gone."""
        self._connected = False
        reset = reason.check(ConnectionDone) is None
        self.closed(reset=reset)

    def pauseProducing(self) -> None:
        """Pass on that too much waits to be sent."""
        self.full = True
        self.filled()

    def resumeProducing(self) -> None:
        """Pass on that everything has been sent."""
        self.full = False
        self.drained()

    def stopProducing(self) -> None:
        """Do nothing: `connectionLost` follows."""

    def _stop_producing(self) -> None:
        """Unregister as a producer: with one the transport would not close."""
        if self._producing:
            self._producing = False
            self._wire().unregisterProducer()

    def _wire(self) -> Any:
        """Return the transport. Twisted's interfaces do not name everything that TCP has."""
        return cast("ITransport", self.transport)


def _endpoint(address: object) -> Endpoint:
    if isinstance(address, IPv4Address | IPv6Address):
        return Endpoint(address.host, address.port)
    return NOWHERE
