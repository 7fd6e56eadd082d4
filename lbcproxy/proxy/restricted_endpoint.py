"""Connect to a host if rules allow it. The addresses of a name are checked before dialling."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any
from typing import Protocol as Interface

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IHostnameResolver,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer.dial import client_endpoint
from lbcproxy.proxy.destinations import Destinations, NotAllowed

__all__ = ["RestrictedEndpoint"]


class RestrictedEndpoint:
    """Connects to a host if rules allow it.

    The addresses that are checked are the ones that are dialled. A name server that gives another
    answer the second time (DNS rebinding) therefore gains nothing.

    Args:
        reactor: Twisted's reactor, or a test's.
        address: The destination.
        timeout: In seconds.
        rules: What is allowed.
    """

    def __init__(
        self, reactor: Any, address: Endpoint, timeout: float, rules: Destinations
    ) -> None:
        self._address = address
        self._allowed = rules.allows(address.host)
        self._names = _CheckedNames(reactor.nameResolver, rules)
        self._endpoint = client_endpoint(_WithNames(reactor, self._names), address, timeout)

    def connect(self, factory: Factory) -> Deferred[Protocol]:
        """Connect; the Deferred fails with NotAllowed if the rules do not allow the host."""
        if not self._allowed:
            return fail(NotAllowed("not allowed"))
        connected: Deferred[Protocol] = self._endpoint.connect(factory)
        return connected.addErrback(self._explain)

    def _explain(self, failure: Failure) -> Failure:
        """Return NotAllowed if a name has addresses, but none that is allowed."""
        if self._names.refused and failure.check(DNSLookupError):
            refused = ", ".join(self._names.refused)
            return Failure(NotAllowed(f"not allowed: it has the address {refused}"))
        return failure


class _AddressReceiver(Interface):
    """What is notified of the addresses of a name (Twisted's `IResolutionReceiver`)."""

    def resolutionBegan(self, resolution: object) -> None: ...

    def addressResolved(self, address: IPv4Address | IPv6Address) -> None: ...

    def resolutionComplete(self) -> None: ...


class _Resolver(Interface):
    """What looks up names (Twisted's `IHostnameResolver`)."""

    def resolveHostName(
        self, receiver: _AddressReceiver, name: str, /, *more: Any, **options: Any
    ) -> object: ...


@implementer(IHostnameResolver)
class _CheckedNames:
    """Looks up names and returns only the addresses that the rules allow."""

    def __init__(self, names: _Resolver, rules: Destinations) -> None:
        self._names = names
        self._rules = rules
        self.refused: list[str] = []

    def resolveHostName(
        self, receiver: _AddressReceiver, name: str, *more: Any, **options: Any
    ) -> object:
        """Look up a name."""
        checked = _CheckedAddresses(receiver, name, self._rules, self.refused)
        return self._names.resolveHostName(checked, name, *more, **options)


@implementer(IResolutionReceiver)
class _CheckedAddresses:
    def __init__(
        self, receiver: _AddressReceiver, name: str, rules: Destinations, refused: list[str]
    ) -> None:
        self._receiver = receiver
        self._name = name
        self._rules = rules
        self._refused = refused

    def resolutionBegan(self, resolution: object) -> None:
        self._receiver.resolutionBegan(resolution)

    def addressResolved(self, address: IPv4Address | IPv6Address) -> None:
        host = address.host.partition("%")[0]
        if self._rules.allows_address(ip_address(host), self._name):
            self._receiver.addressResolved(address)
        else:
            self._refused.append(host)

    def resolutionComplete(self) -> None:
        self._receiver.resolutionComplete()


@implementer(IReactorPluggableNameResolver)
class _WithNames:
    """A reactor with another name resolver."""

    def __init__(self, reactor: Any, names: _CheckedNames) -> None:
        self._reactor = reactor
        self.nameResolver = names

    def installNameResolver(self, resolver: object) -> object:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)
