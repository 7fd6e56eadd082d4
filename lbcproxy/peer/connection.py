"""One connection to a node, below all protocol: read, write, pause, end.

What Twisted leaves to its users is done here once: a valve for what waits to be sent, named
reasons to stop reading, half-closes, and ends in every order.
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

__all__ = ["NOWHERE", "Connection"]


NOWHERE = Endpoint("", 0)
READ = 2 * 65_495
"""Bytes read at once, at most, while a node sends much: what two packets of a capture hold.

Measured with messages of 100 kB: a quarter more a second than with Twisted's 64 KiB; above 128 KiB
the C library maps memory anew for each read.
"""
USUAL = 65_536
"""The same otherwise. Twisted has the same number for what may wait to be sent."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class Connection(Protocol):
    """One end of a connection to a node; a subclass says what comes of its events.

    Not safe to be used from other threads.

    It registers as the producer of its own transport, which so tells it when too much waits to be
    sent; for every reason to stop reading there is a name, so that one owner's `resume` does not
    undo another's `pause`.
    """

    def __init__(self) -> None:
        self._pauses: set[str] = set()
        self._connected = False
        self._finished = False
        self._write_ended = False
        self._producing = False
        self._reads_much = False
        self.full = False
        """Whether more than 64 KiB wait to be sent."""
        self.aborted = False
        """Whether it was we who broke the connection off."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    @property
    def is_open(self) -> bool:
        """Whether the connection is there."""
        return self._connected

    @property
    def address(self) -> Endpoint:
        """The node's address; `Endpoint("", 0)` where the transport has none."""
        return _endpoint(self._wire().getPeer()) if self.transport else NOWHERE

    @property
    def local_address(self) -> Endpoint:
        """Our own address of this connection; `Endpoint("", 0)` where the transport has none."""
        return _endpoint(self._wire().getHost()) if self.transport else NOWHERE

    def write(self, data: bytes) -> None:
        """Send bytes to the node; ignored once the sending side is closed."""
        if not self._connected or self._write_ended:
            return
        wire = self._wire()
        sent = self._sent_at_once(wire, data)
        if sent < len(data):
            wire.write(data[sent:] if sent else data)

    def _sent_at_once(self, wire: Any, data: bytes) -> int:
        """Send what the system takes now, if nothing waits before it; give how much that was.

        By itself Twisted sends when the reactor comes round, behind all that is done until then,
        and asks the system twice more for it: half of the time that a ping takes through a proxy.
        What fails here fails again in the transport, which then ends the connection.
        """
        if getattr(wire, "dataBuffer", True) or getattr(wire, "_tempDataLen", True):
            return 0
        try:
            return int(wire.getHandle().send(data))
        except OSError:
            return 0

    def finish(self) -> None:
        """Send no more (FIN), after all that waits; reading goes on."""
        if not self._connected or self._write_ended:
            return
        self._write_ended = True
        self._stop_producing()
        if hasattr(self.transport, "loseWriteConnection"):
            self._wire().loseWriteConnection()

    def close(self) -> None:
        """Close the connection after all that waits has been sent."""
        if self._connected:
            self._write_ended = True
            self._stop_producing()
            self._wire().loseConnection()

    def abort(self) -> None:
        """Close the connection at once, with a reset."""
        if self._connected:
            self._write_ended = self.aborted = True
            self._stop_producing()
            self._wire().abortConnection()

    def hand_over(self, other: Connection) -> None:
        """Have another go on with the connection, as with one that is new."""
        wire = self._wire()
        self._stop_producing()
        self._connected = False
        wire.protocol = other
        other.makeConnection(wire)

    def pause(self, reason: str) -> None:
        """Stop reading for a reason; a paused connection does not notice the node's close."""
        if not self._pauses and self._connected and not self._finished:
            self._wire().pauseProducing()
        self._pauses.add(reason)

    def resume(self, reason: str) -> None:
        """Take a reason back; reading goes on when there is none left."""
        if reason not in self._pauses:
            return
        self._pauses.remove(reason)
        if not self._pauses and self._connected and not self._finished:
            self._wire().resumeProducing()

    # What a subclass makes of it. Each call may write, pause or close.

    def opened(self) -> None:
        """The connection is there."""

    def received(self, data: bytes) -> None:
        """Bytes arrived."""

    def finished(self) -> None:
        """The node will send no more (FIN); it may still read."""

    def closed(self, *, reset: bool) -> None:
        """The connection is gone; by a reset or an error, if not in order. The last call."""

    def filled(self) -> None:
        """More than 64 KiB wait to be sent to the node: write no more for now."""

    def drained(self) -> None:
        """All that waited has been sent: write on."""

    # What Twisted calls.

    def makeConnection(self, transport: Any) -> None:  # noqa: N802
        """Begin with a first connection; a second one is cut, and the first goes on."""
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
            self._wire().setTcpKeepAlive(True)  # a node that lost its power says no goodbye
        self._producing = True
        self._wire().registerProducer(self, True)
        if self._pauses:
            self._wire().pauseProducing()
        self.opened()

    def dataReceived(self, data: bytes) -> None:
        """Pass bytes on."""
        much = len(data) >= USUAL
        if much is not self._reads_much:
            self._reads_much = much
            if hasattr(self.transport, "bufferSize"):
                self._wire().bufferSize = READ if much else USUAL
        self.received(data)

    def readConnectionLost(self) -> None:
        """Pass on that the node sends no more."""
        self._finished = True
        self.finished()

    def writeConnectionLost(self) -> None:
        """Nothing: `finish` asked for it."""

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
        """Pass on that nothing waits any more."""
        self.full = False
        self.drained()

    def stopProducing(self) -> None:
        """Nothing: `connectionLost` follows."""

    def _stop_producing(self) -> None:
        """Let the transport close: with a producer registered it would wait for more."""
        if self._producing:
            self._producing = False
            self._wire().unregisterProducer()

    def _wire(self) -> Any:
        """Give the transport; Twisted's interfaces do not name all that TCP has."""
        return cast("ITransport", self.transport)


def _endpoint(address: object) -> Endpoint:
    if isinstance(address, IPv4Address | IPv6Address):
        return Endpoint(address.host, address.port)
    return NOWHERE
