"""The proxy as a Twisted service: listeners, the sessions behind them, start and stop."""

from __future__ import annotations

import functools
import itertools
import time
from collections import Counter
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
from lbcproxy.faults import Fault
from lbcproxy.networks import Network
from lbcproxy.peer.dial import client_endpoint
from lbcproxy.proxy.budget import Budget
from lbcproxy.proxy.connector import Connector
from lbcproxy.proxy.deferred_inspection import DeferredInspection
from lbcproxy.proxy.destinations import Destinations
from lbcproxy.proxy.interception import Interception
from lbcproxy.proxy.loop_guard import LoopGuard
from lbcproxy.proxy.mode import Mode
from lbcproxy.proxy.modes import all_modes
from lbcproxy.proxy.modes.socks5 import MODE as SOCKS5
from lbcproxy.proxy.rejected_clients import RejectedClients
from lbcproxy.proxy.restricted_endpoint import RestrictedEndpoint
from lbcproxy.proxy.settings import (
    HasFaults,
    IdentityOverrides,
    Plugins,
    ProxySession,
    RelaySettings,
    Runtime,
)
from lbcproxy.proxy.socks_client import SocksEndpoint
from lbcproxy.session import Observer

__all__ = [
    "MAX_SESSIONS",
    "MEMORY",
    "CannotListen",
    "Listener",
    "ProxyService",
    "ProxySettings",
    "Shared",
]

MEMORY = 512 << 20
"""Bytes that all sessions may hold together, unless said otherwise."""
MAX_SESSIONS = 4096
BACKLOG = 1024
"""Clients that may wait to be accepted: as many as may come back at once when a node restarts."""


class CannotListen(LbcproxyError):
    """A listener cannot be opened; the text says which and why."""

    hint = "name another port behind the @, or 0 for any that is free"


class Shared:
    """What all proxies of a process share: how sessions and entries are counted, and bounds."""

    def __init__(self, memory: int = MEMORY, clock: Any = None) -> None:
        self.numbers: Iterator[int] = itertools.count(1)
        self.sessions: Iterator[int] = itertools.count(1)
        self.budget = Budget(memory)
        self.inspections = DeferredInspection(clock)
        self.interception: Interception | None = None
        """Who holds messages by hand, if anybody may."""
        self.loop_guard = LoopGuard()


class ProxySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a proxy is started with; times in seconds."""

    network: Network
    modes: tuple[Mode, ...]
    dial_timeout: float = 30.0
    dial_retry: float = 0.0
    """For how long an upstream that does not answer is tried again, for each client."""
    handshake_timeout: float | None = None
    """After how long a session without a handshake is ended; None for never."""
    idle_timeout: float | None = None
    """The same of one in which not a byte passes."""
    max_sessions: int = MAX_SESSIONS
    """How many there may be at once; further clients are refused."""
    max_sessions_per_address: int | None = None
    """How many of one address; None for no bound of its own."""
    stream_above: int | None
    """Payloads above this pass in parts; None where an observer reads every message."""
    plugins: Plugins = Plugins()
    shown: IdentityOverrides = IdentityOverrides()
    """What each side sees of the other in terminate mode."""
    faults: tuple[Fault, ...] = ()
    seed: int = 0
    """What the chances of faults are made of."""
    socks_upstream: Endpoint | None = None
    """The SOCKS proxy through which clients are led that say themselves where they go."""
    destinations: Destinations = Destinations()
    """Where those may be led."""


class Listener(Factory):
    """One mode at work: makes a relay for each client."""

    def __init__(self, mode: Mode, service: ProxyService) -> None:
        self.mode = mode
        self._service = service
        self.noisy = False

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """Give the client's peer of a new relay; None, which closes it, if there are too many."""
        relay = self._service.new_session(self.mode, str(getattr(addr, "host", "")))
        return None if relay is None else relay.client


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
        shared: Shared | None = None,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._observers = tuple(observers)
        self._now = now
        self._shared = shared or Shared(clock=reactor)
        self._ports: list[Any] = []
        self._relays: dict[ProxySession, str] = {}
        self._addresses: Counter[str] = Counter()
        self._refused = RejectedClients(reactor)
        self._emptied: list[Deferred[None]] = []

    async def listen(self) -> list[Mode]:
        """Open every listener and give the modes with the ports they got; raises CannotListen."""
        opened = []
        for mode in self._settings.modes:
            listener = Listener(mode, self)
            try:
                port = await self._server_endpoint(mode.listen).listen(listener)
            except Exception as error:
                await self.stopService()
                raise CannotListen(f"cannot listen at {mode.listen}: {_why(error)}") from error
            self._ports.append(port)
            real = Endpoint(mode.listen.host, port.getHost().port)
            listener.mode = msgspec.structs.replace(mode, listen=real)
            opened.append(listener.mode)
        return opened

    @property
    def sessions(self) -> Sequence[ProxySession]:
        """The sessions there are now."""
        return tuple(self._relays)

    def plugins_changed(self) -> None:
        """Have all sessions ask their plugins as the files are now."""
        for relay in self.sessions:
            relay.plugins_changed()

    def change(self, settings: ProxySettings, observers: Sequence[Observer]) -> None:
        """Have other settings for the sessions to come, other faults for all; modes stay."""
        before = self._settings.faults
        self._settings = settings
        self._observers = tuple(observers)
        if settings.faults != before:
            for relay in self.sessions:
                if isinstance(relay, HasFaults):
                    relay.change_faults(settings.faults)

    def new_session(self, mode: Mode, address: str) -> ProxySession | None:
        """Make a new session, of the mode's kind; None if there are too many already."""
        why = self._too_many(address)
        if why:
            self._refused.tell(mode.listen, address, why)
            return None
        number = next(self._shared.sessions)
        relay = all_modes()[mode.kind].make(
            number, self._relay_settings(mode), self._runtime(mode), self
        )
        self._relays[relay] = address
        self._addresses[address] += 1
        return relay

    def _too_many(self, address: str) -> str:
        most, each = self._settings.max_sessions, self._settings.max_sessions_per_address
        if len(self._relays) >= most:
            return f"there are {most} sessions already (max_sessions)"
        if each is not None and self._addresses[address] >= each:
            return f"it has {each} sessions already (max_sessions_per_address)"
        return ""

    def session_ended(self, relay: ProxySession) -> None:
        """Forget a session."""
        address = self._relays.pop(relay, "")
        self._addresses[address] -= 1
        if self._addresses[address] <= 0:
            del self._addresses[address]
        if not self._relays:
            waiting, self._emptied = self._emptied, []
            for deferred in waiting:
                deferred.callback(None)

    def stop_listening(self) -> Deferred[Any]:
        """Take no more clients; fires when the ports are free."""
        stopped = [port.stopListening() for port in self._ports]
        self._ports.clear()
        return DeferredList([each for each in stopped if each is not None])

    def stopService(self) -> Deferred[Any]:
        """Stop listening, end every session in order; fires when all are gone."""
        super().stopService()  # type: ignore[no-untyped-call]
        stopped = [self.stop_listening()]
        for relay in self.sessions:
            relay.stop()
        if self._relays:
            emptied: Deferred[None] = Deferred()
            self._emptied.append(emptied)
            stopped.append(emptied)
        return DeferredList(stopped)

    def abort(self) -> None:
        """End every session at once."""
        for relay in self.sessions:
            relay.abort()

    def _relay_settings(self, mode: Mode) -> RelaySettings:
        return RelaySettings(
            network=self._settings.network,
            listen=mode.listen,
            upstreams=mode.upstreams,
            stream_above=self._settings.stream_above,
            handshake_timeout=self._settings.handshake_timeout,
            idle_timeout=self._settings.idle_timeout,
            shown=self._settings.shown,
            plugins=self._settings.plugins,
            faults=self._settings.faults,
            seed=self._settings.seed,
        )

    def _runtime(self, mode: Mode) -> Runtime:
        return Runtime(
            dial=lambda upstreams: Connector(
                self._reactor,
                upstreams,
                timeout=self._settings.dial_timeout,
                retry=self._settings.dial_retry,
                endpoint=self._client_endpoint(mode),
            ),
            observers=self._observers,
            clock=self._reactor,
            now=self._now,
            numbers=self._shared.numbers,
            budget=self._shared.budget,
            loop_guard=self._shared.loop_guard,
            inspections=self._shared.inspections,
            interception=self._shared.interception,
        )

    def _client_endpoint(self, mode: Mode) -> Callable[[Any, Endpoint, float], Any]:
        """Return what makes the way to an upstream; only where clients choose it has it bounds."""
        rules, proxy = self._settings.destinations, self._settings.socks_upstream
        if mode.kind != SOCKS5.name:
            return client_endpoint
        if proxy is not None:
            return functools.partial(SocksEndpoint, proxy=proxy, rules=rules)
        return functools.partial(RestrictedEndpoint, rules=rules) if rules else client_endpoint

    def _server_endpoint(self, address: Endpoint) -> Any:
        kind = TCP6ServerEndpoint if ":" in address.host else TCP4ServerEndpoint
        return kind(self._reactor, address.port, backlog=BACKLOG, interface=address.host)


def _why(error: Exception) -> str:
    reason = getattr(error, "socketError", error)
    return str(getattr(reason, "strerror", None) or reason)
