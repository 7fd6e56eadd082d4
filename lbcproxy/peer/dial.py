"""Connecting to a node: the endpoint for its address, and why there is no connection."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.protocol import Factory, Protocol

from lbcproxy.endpoint import Endpoint
from lbcproxy.text import printable
from lbcproxy.transport.curve import MissingLibrary, require_libraries
from lbcproxy.transport.kind import Transport

__all__ = [
    "CONNECT_ERRORS",
    "NeverLookedUp",
    "client_endpoint",
    "connect",
    "never_looked_up",
    "reason_of",
    "transports_to_try",
]

CONNECT_ERRORS = (ConnectError, ConnectingCancelledError, CancelledError, OSError)
"""How connecting fails without a defect of ours. A name that is not found is an OSError."""


NEVER_LOOKED_UP = ("onion", "i2p", "invalid")
"""Top-level names that must not be sent to a name server (RFC 7686, RFC 6761)."""


class NeverLookedUp(DNSLookupError):
    """A name is not looked up, because the query would disclose it to others."""


class _NeverConnects:
    """An endpoint for a name that is not looked up."""

    def __init__(self, name: str) -> None:
        self._name = name

    def connect(self, factory: object) -> Deferred[Any]:
        """Fail."""
        return fail(NeverLookedUp(f"names in .{self._name} are not looked up"))


def never_looked_up(host: str) -> str:
    """Return the top-level name of a host that must not be looked up; "" for any other host."""
    last = host.rstrip(".").lower().rpartition(".")[2]
    return last if last in NEVER_LOOKED_UP else ""


def client_endpoint(reactor: Any, address: Endpoint, timeout: float) -> Any:
    """Return the Twisted endpoint that connects to an address.

    Args:
        reactor: Twisted's reactor, or a test's.
        address: An IP address or a name, which is looked up, and a port.
        timeout: In seconds.
    """
    if special := never_looked_up(address.host):
        return _NeverConnects(special)
    if ":" in address.host:
        return TCP6ClientEndpoint(reactor, address.host, address.port, timeout)
    if address.host.replace(".", "").isdigit():
        return TCP4ClientEndpoint(reactor, address.host, address.port, timeout)
    return HostnameEndpoint(reactor, address.host, address.port, timeout)


def connect(endpoint: Any, peer: Protocol) -> Deferred[Any]:
    """Connect a peer. Twisted's `connectProtocol` would log two lines per connection."""
    factory = Factory()
    factory.noisy = False
    factory.buildProtocol = lambda _: peer  # type: ignore[method-assign, assignment]
    connected: Deferred[Any] = endpoint.connect(factory)
    return connected


def transports_to_try(transport: Transport) -> tuple[Transport, ...]:
    """Return the transports that connections to a node are tried with, one after the other.

    A node that cannot encrypt (BIP324) ends the connection, or is silent, before it sends a byte.

    Args:
        transport: What was asked for: V1, V2, or AUTO for V2 and then V1.

    Raises:
        MissingLibrary: V2 was asked for, and the library for it is not installed.
    """
    if transport is Transport.V1:
        return (transport,)
    try:
        require_libraries()
    except MissingLibrary:
        if transport is Transport.AUTO:
            return (Transport.V1,)
        raise
    return (Transport.V2,) if transport is Transport.V2 else (Transport.V2, Transport.V1)


def reason_of(error: BaseException | None) -> str:
    """Return why a connection could not be made, in the system's words if there are any."""
    if isinstance(error, NeverLookedUp):
        return str(error.args[0])
    number = getattr(error, "osError", None)
    if isinstance(number, int):
        return os.strerror(number)
    if isinstance(error, DNSLookupError):
        return "no such host"
    if isinstance(error, ConnectTimeout):
        return "no answer in time"
    return printable(str(error)).rstrip(".") or type(error).__name__
