"""What leads to a node: the Twisted endpoint for its address."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint

from lbcproxy.endpoint import Endpoint

__all__ = ["client_endpoint"]


def client_endpoint(reactor: Any, address: Endpoint, timeout: float) -> Any:
    """Make the endpoint that connects to an address; the timeout is in seconds.

    Only what is a name is looked up.
    """
    if ":" in address.host:
        return TCP6ClientEndpoint(reactor, address.host, address.port, timeout)
    if address.host.replace(".", "").isdigit():
        return TCP4ClientEndpoint(reactor, address.host, address.port, timeout)
    return HostnameEndpoint(reactor, address.host, address.port, timeout)
