"""The proxy as a Twisted service: listeners, the relays behind them, start and stop."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import LbcproxyError
from lbcproxy.networks import Network
from lbcproxy.peer.dial import client_endpoint
from lbcproxy.proxy.mode import Mode
from lbcproxy.proxy.modes import all_modes
from lbcproxy.proxy.settings import ProxySession, RelaySettings, Shown
from lbcproxy.session import Observer

__all__ = ["CannotListen", "Listener", "ProxyService", "ProxySettings"]


class CannotListen(LbcproxyError):
    """A listener cannot be opened; the text says which and why."""

    hint = "name another port behind the @, or 0 for any that is free"


class ProxySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a proxy is started with; times in seconds."""

    network: Network
    modes: tuple[Mode, ...]
    dial_timeout: float = 30.0
    stream_above: int | None
    """Payloads above this pass in parts; None where an observer reads every message."""
    shown: Shown = Shown()
    """What each side sees of the other in terminate mode."""


class Listener(Factory):
    """One mode at work: makes a relay for each client."""

    def __init__(self, mode: Mode, service: ProxyService, settings: RelaySettings) -> None:
        self.mode = mode
        self._service = service
        self._settings = settings
        self.noisy = False

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """Give the client's peer of a new relay."""
        return self._service.new_relay(self.mode, self._settings).client


class ProxyService(Service):
    """Several listeners and all their sessions.

    `reactor` needs Twisted's time, TCP and names; `now` is the time of day in nanoseconds.
    """

    def __init__(
        self,
        reactor: Any,
        settings: ProxySettings,
        observers: Sequence[Observer],
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._observers = tuple(observers)
        self._now = now
        self._numbers: Iterator[int] = itertools.count(1)
        self._sessions: Iterator[int] = itertools.count(1)
        self._ports: list[Any] = []
        self._relays: set[ProxySession] = set()
        self._emptied: list[Deferred[None]] = []

    async def listen(self) -> list[Mode]:
        """Open every listener and give the modes with the ports they got; raises CannotListen."""
        opened = []
        for mode in self._settings.modes:
            listener = Listener(mode, self, self._relay_settings(mode))
            try:
                port = await self._server_endpoint(mode.listen).listen(listener)
            except Exception as error:
                await self.stopService()
                raise CannotListen(f"cannot listen at {mode.listen}: {_why(error)}") from error
            self._ports.append(port)
            real = Endpoint(mode.listen.host, port.getHost().port)
            opened.append(msgspec.structs.replace(mode, listen=real))
        return opened

    @property
    def relays(self) -> Sequence[ProxySession]:
        """The sessions there are now."""
        return tuple(self._relays)

    def new_relay(self, mode: Mode, settings: RelaySettings) -> ProxySession:
        """Make a new session, of the mode's kind."""
        make = all_modes()[mode.kind].make
        relay: ProxySession = make(next(self._sessions), settings, self)
        self._relays.add(relay)
        return relay

    def relay_ended(self, relay: ProxySession) -> None:
        """Forget a session."""
        self._relays.discard(relay)
        if not self._relays:
            waiting, self._emptied = self._emptied, []
            for deferred in waiting:
                deferred.callback(None)

    def stopService(self) -> Deferred[Any]:
        """Stop listening, end every session in order; fires when all are gone."""
        super().stopService()  # type: ignore[no-untyped-call]
        stopped = [port.stopListening() for port in self._ports]
        self._ports.clear()
        for relay in self.relays:
            relay.stop()
        if self._relays:
            emptied: Deferred[None] = Deferred()
            self._emptied.append(emptied)
            stopped.append(emptied)
        return DeferredList([each for each in stopped if each is not None])

    def abort(self) -> None:
        """End every session at once."""
        for relay in self.relays:
            relay.abort()

    def _relay_settings(self, mode: Mode) -> RelaySettings:
        return RelaySettings(
            network=self._settings.network,
            upstream=mode.upstream,
            dial=lambda: client_endpoint(self._reactor, mode.upstream, self._settings.dial_timeout),
            observers=self._observers,
            clock=self._reactor,
            now=self._now,
            numbers=self._numbers,
            stream_above=self._settings.stream_above,
            shown=self._settings.shown,
        )

    def _server_endpoint(self, address: Endpoint) -> Any:
        kind = TCP6ServerEndpoint if ":" in address.host else TCP4ServerEndpoint
        return kind(self._reactor, address.port, interface=address.host)


def _why(error: Exception) -> str:
    reason = getattr(error, "socketError", error)
    return str(getattr(reason, "strerror", None) or reason)
