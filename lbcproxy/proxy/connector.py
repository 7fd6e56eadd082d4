"""Connect to an upstream for one client: try several in order, and retry for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.task import deferLater
from twisted.logger import Logger

from lbcproxy.clock import Clock
from lbcproxy.endpoint import Endpoint
from lbcproxy.peer.dial import CONNECT_ERRORS, client_endpoint, reason_of
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.session import Direction, End, EndCause

__all__ = ["RETRY_INTERVAL", "ClientEndpoint", "Connector", "unreachable"]

RETRY_INTERVAL = 0.5
"""Seconds between the end of one round and the start of the next."""


class ClientEndpoint(Protocol):
    """What connects to one address (Twisted's `IStreamClientEndpoint`)."""

    def connect(self, factory: Factory, /) -> Deferred[TwistedProtocol]:
        """Connect; the Deferred fires with the factory's protocol."""


class Connector:
    """Connects to the first upstream that answers. It is an endpoint that is used once.

    The upstreams are tried in order. If none answers, another round starts after
    `RETRY_INTERVAL`, until `retry` seconds have passed since the first round. A client that
    connects while the node restarts therefore still gets its session. Names are looked up for
    each attempt.

    Args:
        reactor: Twisted's reactor, or a test's.
        upstreams: At least one address.
        timeout: Seconds for each attempt, including the lookup of a name.
        retry: Seconds during which new rounds start; 0 for a single round.
        endpoint: Makes the endpoint for an address: reactor, address, timeout in seconds.
    """

    log = Logger(observer=LOG_FILTER)

    def __init__(
        self,
        reactor: Clock,
        upstreams: tuple[Endpoint, ...],
        *,
        timeout: float,
        retry: float = 0.0,
        endpoint: Callable[[Clock, Endpoint, float], ClientEndpoint] = client_endpoint,
    ) -> None:
        self._cancelled = False
        self.leads_to = upstreams[0]
        """The upstream that is connected or being tried."""
        self._reactor = reactor
        self._upstreams = upstreams
        self._timeout = timeout
        self._retry = retry
        self._endpoint = endpoint

    def connect(self, factory: Factory) -> Deferred[TwistedProtocol]:
        """Connect. The Deferred fails with the error of the last upstream; it can be cancelled."""
        attempts = Deferred.fromCoroutine(self._connect(factory))

        def cancel(_: Deferred[TwistedProtocol]) -> None:
            self._cancelled = True
            attempts.cancel()

        connected: Deferred[TwistedProtocol] = Deferred(cancel)
        attempts.addCallbacks(connected.callback, connected.errback)
        return connected

    async def _connect(self, factory: Factory) -> TwistedProtocol:
        deadline = self._reactor.seconds() + self._retry
        log = self.log.info
        while True:
            last = self._reactor.seconds() + RETRY_INTERVAL > deadline
            for number, address in enumerate(self._upstreams, 1):
                self.leads_to = address
                endpoint = self._endpoint(self._reactor, address, self._timeout)
                try:
                    return await self._attempt(endpoint, factory)
                except CONNECT_ERRORS as error:
                    # Cancelled during a lookup, Twisted reports that the name does not exist.
                    if self._cancelled or (last and number == len(self._upstreams)):
                        raise
                    reason = reason_of(error)
                then = self._next(number)
                log("upstream {upstream}: {why}; {then}", upstream=address, why=reason, then=then)
            log = self.log.debug  # later rounds are many and log the same
            await deferLater(cast("IReactorTime", self._reactor), RETRY_INTERVAL)

    async def _attempt(self, endpoint: ClientEndpoint, factory: Factory) -> TwistedProtocol:
        """Connect to one upstream. Twisted's own timeout does not include the lookup of a name."""
        attempt = endpoint.connect(factory)
        attempt.addTimeout(self._timeout, cast("IReactorTime", self._reactor), _timed_out)
        try:
            return await attempt
        except ValueError as error:  # not a valid host name
            raise DNSLookupError(str(error)) from error

    def _next(self, number: int) -> str:
        """Describe what happens after an upstream has failed."""
        if number < len(self._upstreams):
            return f"trying {self._upstreams[number]}"
        return f"trying again for {self._retry:g} s"


def unreachable(error: BaseException | None) -> End:
    """Return the end of a session whose upstream could not be reached."""
    return End(EndCause.UNREACHABLE, Direction.TO_CLIENT, reason_of(error))


def _timed_out(_: object, seconds: float) -> None:
    raise ConnectTimeout(string=f"no connection in {seconds:g} s")
