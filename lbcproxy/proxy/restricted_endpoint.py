"""The way to a host that rules allow: a name's addresses are held to them before any is dialled."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer.dial import client_endpoint
from lbcproxy.proxy.destinations import Destinations, NotAllowed

__all__ = ["RestrictedEndpoint"]


class RestrictedEndpoint:
    """Connects to a host if rules allow it.

    The addresses that are checked are those that are dialled, so a name server that answers
    otherwise the second time (DNS rebinding) gains nothing.
    """

    def __init__(
        self, reactor: Any, address: Endpoint, timeout: float, rules: Destinations
    ) -> None:
        self._address = address
        self._allowed = rules.allows(address.host)
        self._names = _CheckedNames(reactor.nameResolver, rules)
        self._endpoint = client_endpoint(_WithNames(reactor, self._names), address, timeout)

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connect; the Deferred fails with NotAllowed where the rules say so."""
        if not self._allowed:
            return fail(NotAllowed("not allowed"))
        connected: Deferred[Any] = self._endpoint.connect(factory)
        return connected.addErrback(self._why)

    def _why(self, failure: Failure) -> Failure:
        """Tell a name without an allowed address from one without any."""
        if self._names.refused and failure.check(DNSLookupError):
            refused = ", ".join(self._names.refused)
            return Failure(NotAllowed(f"not allowed: it has the address {refused}"))
        return failure


@implementer(IHostnameResolver)
class _CheckedNames:
    """Looks names up and passes on the addresses that rules allow."""

    def __init__(self, names: Any, rules: Destinations) -> None:
        self._names = names
        self._rules = rules
        self.refused: list[str] = []

    def resolveHostName(self, receiver: Any, name: str, *more: Any, **options: Any) -> Any:
        """Look a name up."""
        checked = _CheckedAddresses(receiver, name, self._rules, self.refused)
        return self._names.resolveHostName(checked, name, *more, **options)


@implementer(IResolutionReceiver)
class _CheckedAddresses:
    def __init__(self, receiver: Any, name: str, rules: Destinations, refused: list[str]) -> None:
        self._receiver = receiver
        self._name = name
        self._rules = rules
        self._refused = refused

    def resolutionBegan(self, resolution: IHostResolution) -> None:
        self._receiver.resolutionBegan(resolution)

    def addressResolved(self, address: Any) -> None:
        host = address.host.partition("%")[0]
        if self._rules.allows_address(ip_address(host), self._name):
            self._receiver.addressResolved(address)
        else:
            self._refused.append(host)

    def resolutionComplete(self) -> None:
        self._receiver.resolutionComplete()


@implementer(IReactorPluggableNameResolver)
class _WithNames:
    """A reactor that looks names up in another way."""

    def __init__(self, reactor: Any, names: _CheckedNames) -> None:
        self._reactor = reactor
        self.nameResolver = names

    def installNameResolver(self, resolver: Any) -> Any:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)
