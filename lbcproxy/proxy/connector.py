"""One client's way to an upstream: several are tried in their order, and again for a while."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.task import deferLater
from twisted.logger import Logger

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer.dial import CONNECT_ERRORS, client_endpoint, reason_of
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.session import Direction, End, EndCause

__all__ = ["PAUSE", "Connector", "unreachable"]

PAUSE = 0.5
"""Seconds between one round and the next."""


class Connector:
    """Connects to the first of some upstreams that answers; an endpoint, used once.

    Each is given `timeout` seconds. When none has answered all are tried again, a round each half
    second, until `retry` seconds have passed since the first: so a client that comes while a node
    restarts gets its session. A name is looked up each time.
    """

    log = Logger(observer=LOG_FILTER)

    def __init__(
        self,
        reactor: Any,
        upstreams: tuple[Endpoint, ...],
        *,
        timeout: float,
        retry: float = 0.0,
        endpoint: Any = client_endpoint,
    ) -> None:
        self._cancelled = False
        self.leads_to = upstreams[0]
        """The upstream that is connected, or being tried."""
        self._reactor = reactor
        self._upstreams = upstreams
        self._timeout = timeout
        self._retry = retry
        self._endpoint = endpoint

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connect; the Deferred fails as that of the last upstream did, and can be cancelled."""
        trying = Deferred.fromCoroutine(self._connect(factory))

        def cancel(_: Deferred[Any]) -> None:
            self._cancelled = True
            trying.cancel()

        connected: Deferred[Any] = Deferred(cancel)
        trying.addCallbacks(connected.callback, connected.errback)
        return connected

    async def _connect(self, factory: Any) -> Any:
        until = self._reactor.seconds() + self._retry
        say = self.log.info
        while True:
            last = self._reactor.seconds() + PAUSE > until
            for number, address in enumerate(self._upstreams, 1):
                self.leads_to = address
                endpoint = self._endpoint(self._reactor, address, self._timeout)
                try:
                    return await self._attempt(endpoint, factory)
                except CONNECT_ERRORS as error:
                    # Cancelled while a name is looked up, Twisted says that there is none.
                    if self._cancelled or (last and number == len(self._upstreams)):
                        raise
                    why = reason_of(error)
                then = self._next(number)
                say("upstream {upstream}: {why}; {then}", upstream=address, why=why, then=then)
            say = self.log.debug  # the rounds to come are many, and say the same
            await deferLater(self._reactor, PAUSE)

    async def _attempt(self, endpoint: Any, factory: Any) -> Any:
        """Connect to one, in its time: that of Twisted's endpoint does not hold for looking up."""
        attempt = endpoint.connect(factory)
        attempt.addTimeout(self._timeout, self._reactor, _too_late)
        try:
            return await attempt
        except ValueError as error:  # a name that nobody could have
            raise DNSLookupError(str(error)) from error

    def _next(self, number: int) -> str:
        """Say what is done behind the failure of an upstream."""
        if number < len(self._upstreams):
            return f"trying {self._upstreams[number]}"
        return f"trying again for {self._retry:g} s"


def unreachable(error: BaseException | None) -> End:
    """Return the end of a session whose upstream could not be reached."""
    return End(EndCause.UNREACHABLE, Direction.TO_CLIENT, reason_of(error))


def _too_late(_: object, seconds: float) -> None:
    raise ConnectTimeout(string=f"no connection in {seconds:g} s")
