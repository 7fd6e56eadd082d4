"""The client's side of SOCKS 5 (RFC 1928): the way to a host through another SOCKS proxy, as Tor.

Names are passed on as they are, and looked up there.
"""

from __future__ import annotations

import errno
from ipaddress import IPv4Address, ip_address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.error import ConnectionRefusedError as ConnectRefused
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer.dial import client_endpoint, connect, reason_of
from lbcproxy.proxy.destinations import Destinations, NotAllowed

__all__ = ["SocksEndpoint", "SocksRequest"]

VERSION = 5
CONNECT = 1
NO_PASSWORD = 0
IPV4, NAME, IPV6 = 1, 3, 4
HELLO = bytes((VERSION, 1, NO_PASSWORD))
FAILURES = {
    1: "general failure",
    2: "not allowed there",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
    # Tor's, with ExtendedErrors: proposal 304.
    0xF0: "onion service not found",
    0xF1: "onion service descriptor is not valid",
    0xF2: "onion service did not answer",
    0xF3: "onion service could not be reached",
    0xF4: "onion service wants a key",
    0xF5: "onion service takes no such key",
    0xF6: "onion address is not valid",
    0xF7: "onion service did not answer in time",
}
ERRNO = {3: errno.ENETUNREACH, 4: errno.EHOSTUNREACH}


class SocksRequest:
    """What is said to the proxy, without I/O: bytes in, bytes out."""

    def __init__(self, target: Endpoint) -> None:
        self._request = _request(target)
        self._buffer = b""
        self._greeted = False
        self.rest: bytes | None = None
        """What came after the proxy's answer, once it has said yes."""
        self.error: Exception | None = None
        """Why there is no connection, once that is known."""

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they came, and return those that are to be sent."""
        self._buffer += data
        if not self._greeted:
            if len(self._buffer) < 2:
                return b""
            if self._buffer[:2] != bytes((VERSION, NO_PASSWORD)):
                self.error = ConnectError(
                    string=f"the SOCKS proxy answers {self._buffer[:2].hex(' ')} to a greeting "
                    "without a password"
                )
                return b""
            self._greeted, self._buffer = True, self._buffer[2:]
            return self._request + self.feed(b"")
        size = self._size()
        if size and len(self._buffer) >= size and self.rest is None and self.error is None:
            self._answered(size)
        return b""

    def _size(self) -> int:
        """Return how long the answer is; 0 while that is not known."""
        if len(self._buffer) < 5:
            return 0
        kind, first = self._buffer[3], self._buffer[4]
        return {IPV4: 10, IPV6: 22, NAME: 7 + first}.get(kind, 5)

    def _answered(self, size: int) -> None:
        version, code, _, kind = self._buffer[:4]
        if version != VERSION or (not code and kind not in (IPV4, NAME, IPV6)):
            self.error = ConnectError(string=f"no answer of SOCKS 5: {self._buffer[:4].hex(' ')}")
        elif code:
            self.error = _error(code)
        else:
            self.rest = self._buffer[size:]


class SocksEndpoint:
    """Connects to a host through a SOCKS proxy, if rules allow it."""

    def __init__(
        self,
        reactor: Any,
        address: Endpoint,
        timeout: float,
        *,
        proxy: Endpoint,
        rules: Destinations,
    ) -> None:
        self._address = address
        self._allowed = rules.allows(address.host, resolves=False)
        self._proxy = proxy
        self._endpoint = client_endpoint(reactor, proxy, timeout)

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connect; the Deferred fires with the factory's protocol when the proxy has said yes."""
        self._connected: Deferred[Any] = Deferred(self._give_up)
        if not self._allowed:
            self._connected.errback(NotAllowed("not allowed"))
            return self._connected
        self._talk = _Talk(self._address, factory, self._connected)
        self._dialling = connect(self._endpoint, self._talk)
        self._dialling.addErrback(self._no_proxy)
        return self._connected

    def _give_up(self, _: Deferred[Any]) -> None:
        self._dialling.cancel()
        self._talk.give_up()

    def _no_proxy(self, failure: Failure) -> None:
        if not self._connected.called:
            why = f"the SOCKS proxy {self._proxy}: {reason_of(failure.value)}"
            self._connected.errback(ConnectError(string=why))


class _Talk(Protocol):
    """The connection to the proxy until it leads where we want; then it is the factory's."""

    def __init__(self, target: Endpoint, factory: Any, connected: Deferred[Any]) -> None:
        self._request = SocksRequest(target)
        self._factory = factory
        self._connected = connected

    def connectionMade(self) -> None:
        self._wire().write(HELLO)

    def dataReceived(self, data: bytes) -> None:
        answer = self._request.feed(data)
        if answer:
            self._wire().write(answer)
        if self._request.error is not None:
            self._fail(self._request.error)
        elif self._request.rest is not None and not self._connected.called:
            self._lead(self._request.rest)

    def connectionLost(self, reason: Failure = Failure(ConnectError())) -> None:  # noqa: B008
        if not self._connected.called:
            self._connected.errback(ConnectError(string="the SOCKS proxy hung up"))

    def give_up(self) -> None:
        """Close: nobody waits any more."""
        if self.transport is not None:
            self._wire().abortConnection()

    def _lead(self, rest: bytes) -> None:
        wire = self._wire()
        protocol = self._factory.buildProtocol(wire.getPeer())
        if protocol is None:
            self._fail(ConnectError(string="the connection is not wanted any more"))
            return
        wire.protocol = protocol
        protocol.makeConnection(wire)
        self._connected.callback(protocol)
        if rest:
            protocol.dataReceived(rest)

    def _fail(self, error: Exception) -> None:
        if not self._connected.called:
            self._connected.errback(error)
        self._wire().abortConnection()

    def _wire(self) -> Any:
        return self.transport


def _request(target: Endpoint) -> bytes:
    head = bytes((VERSION, CONNECT, 0))
    try:
        address = ip_address(target.host)
    except ValueError:
        name = target.host.encode("idna" if not target.host.isascii() else "ascii")[:255]
        where = bytes((NAME, len(name))) + name
    else:
        kind = IPV4 if isinstance(address, IPv4Address) else IPV6
        where = bytes((kind,)) + address.packed
    return head + where + target.port.to_bytes(2)


def _error(code: int) -> Exception:
    """Return the error that a code stands for, as if we had dialled ourselves."""
    if code == 5:
        return ConnectRefused(errno.ECONNREFUSED)
    if code == 6:
        return ConnectTimeout(string="no answer in time")
    if code == 2:
        return NotAllowed("the SOCKS proxy does not allow it")
    words = FAILURES.get(code, f"code {code:02x}")
    return ConnectError(ERRNO.get(code), f"the SOCKS proxy says: {words}")
