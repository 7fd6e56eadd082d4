"""The client side of SOCKS 5 (RFC 1928): connect to a host through another SOCKS proxy, as Tor.

Names are sent to the proxy, which looks them up.
"""

from __future__ import annotations

import errno
from ipaddress import IPv4Address, ip_address
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.error import ConnectionRefusedError as ConnectRefused
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from lbcproxy.clock import Clock
from lbcproxy.endpoint import Endpoint
from lbcproxy.peer.dial import client_endpoint, connect, reason_of
from lbcproxy.proxy.destinations import Destinations, NotAllowed

__all__ = ["SocksEndpoint", "SocksRequest"]

VERSION = 5
CONNECT = 1
NO_AUTHENTICATION = 0
IPV4, DOMAIN_NAME, IPV6 = 1, 3, 4
GREETING = bytes((VERSION, 1, NO_AUTHENTICATION))
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
    0xF4: "onion service requires client authorization",
    0xF5: "onion service rejects the client authorization",
    0xF6: "onion address is not valid",
    0xF7: "onion service did not answer in time",
}
ERRNO = {3: errno.ENETUNREACH, 4: errno.EHOSTUNREACH}


class SocksRequest:
    """The exchange with the proxy, without I/O: bytes in, bytes out."""

    def __init__(self, target: Endpoint) -> None:
        self._request = _request(target)
        self._buffer = b""
        self._greeted = False
        self.rest: bytes | None = None
        """The bytes after the proxy's reply, once the connection is there; None before."""
        self.error: Exception | None = None
        """Why there is no connection; None unless it has failed."""

    def feed(self, data: bytes) -> bytes:
        """Process received bytes; return the bytes to send."""
        self._buffer += data
        if not self._greeted:
            if len(self._buffer) < 2:
                return b""
            if self._buffer[:2] != bytes((VERSION, NO_AUTHENTICATION)):
                self.error = ConnectError(
                    string=f"the SOCKS proxy answers {self._buffer[:2].hex(' ')} to a greeting "
                    "without authentication"
                )
                return b""
            self._greeted, self._buffer = True, self._buffer[2:]
            return self._request + self.feed(b"")
        size = self._size()
        if size and len(self._buffer) >= size and self.rest is None and self.error is None:
            self._process_reply(size)
        return b""

    def _size(self) -> int:
        """Return the length of the reply; 0 while it is not known."""
        if len(self._buffer) < 5:
            return 0
        kind, first = self._buffer[3], self._buffer[4]
        return {IPV4: 10, IPV6: 22, DOMAIN_NAME: 7 + first}.get(kind, 5)

    def _process_reply(self, size: int) -> None:
        version, code, _, kind = self._buffer[:4]
        if version != VERSION or (not code and kind not in (IPV4, DOMAIN_NAME, IPV6)):
            self.error = ConnectError(string=f"not a SOCKS 5 reply: {self._buffer[:4].hex(' ')}")
        elif code:
            self.error = _error(code)
        else:
            self.rest = self._buffer[size:]


class SocksEndpoint:
    """Connects to a host through a SOCKS proxy, if rules allow it."""

    def __init__(
        self,
        reactor: Clock,
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

    def connect(self, factory: Factory) -> Deferred[Protocol]:
        """Connect; the Deferred fires with the factory's protocol once the proxy has connected."""
        self._connected: Deferred[Protocol] = Deferred(self._cancel)
        if not self._allowed:
            self._connected.errback(NotAllowed("not allowed"))
            return self._connected
        self._tunnel = _SocksTunnel(self._address, factory, self._connected)
        self._dialling = connect(self._endpoint, self._tunnel)
        self._dialling.addErrback(self._proxy_failed)
        return self._connected

    def _cancel(self, _: Deferred[Protocol]) -> None:
        self._dialling.cancel()
        self._tunnel.cancel()

    def _proxy_failed(self, failure: Failure) -> None:
        if not self._connected.called:
            reason = f"the SOCKS proxy {self._proxy}: {reason_of(failure.value)}"
            self._connected.errback(ConnectError(string=reason))


class _SocksTunnel(Protocol):
    """The connection to the proxy. It is handed to the factory's protocol once it is through."""

    def __init__(self, target: Endpoint, factory: Factory, connected: Deferred[Protocol]) -> None:
        self._request = SocksRequest(target)
        self._factory = factory
        self._connected = connected

    def connectionMade(self) -> None:
        self._connection().write(GREETING)

    def dataReceived(self, data: bytes) -> None:
        answer = self._request.feed(data)
        if answer:
            self._connection().write(answer)
        if self._request.error is not None:
            self._fail(self._request.error)
        elif self._request.rest is not None and not self._connected.called:
            self._hand_over(self._request.rest)

    def connectionLost(self, reason: Failure = Failure(ConnectError())) -> None:  # noqa: B008
        if not self._connected.called:
            self._connected.errback(ConnectError(string="the SOCKS proxy closed the connection"))

    def cancel(self) -> None:
        """Abort the connection, if there is one."""
        if self.transport is not None:
            self._connection().abortConnection()

    def _hand_over(self, rest: bytes) -> None:
        transport = self._connection()
        protocol = self._factory.buildProtocol(transport.getPeer())
        if protocol is None:
            self._fail(ConnectError(string="the connection is no longer needed"))
            return
        transport.protocol = protocol
        protocol.makeConnection(transport)
        self._connected.callback(cast("Protocol", protocol))
        if rest:
            protocol.dataReceived(rest)

    def _fail(self, error: Exception) -> None:
        if not self._connected.called:
            self._connected.errback(error)
        self._connection().abortConnection()

    def _connection(self) -> Any:
        return self.transport


def _request(target: Endpoint) -> bytes:
    head = bytes((VERSION, CONNECT, 0))
    try:
        address = ip_address(target.host)
    except ValueError:
        name = target.host.encode("idna" if not target.host.isascii() else "ascii")[:255]
        where = bytes((DOMAIN_NAME, len(name))) + name
    else:
        kind = IPV4 if isinstance(address, IPv4Address) else IPV6
        where = bytes((kind,)) + address.packed
    return head + where + target.port.to_bytes(2)


def _error(code: int) -> Exception:
    """Return the error for a code: the one that dialling directly would have raised."""
    if code == 5:
        return ConnectRefused(errno.ECONNREFUSED)
    if code == 6:
        return ConnectTimeout(string="no answer in time")
    if code == 2:
        return NotAllowed("the SOCKS proxy does not allow it")
    failure = FAILURES.get(code, f"code {code:02x}")
    return ConnectError(ERRNO.get(code), f"the SOCKS proxy says: {failure}")
