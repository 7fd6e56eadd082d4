"""The proxy as a Twisted service: its listeners and sessions, start and stop."""

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

from lbcproxy.clock import Clock
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import LbcproxyError
from lbcproxy.faults import Fault
from lbcproxy.networks import Network
from lbcproxy.peer.dial import client_endpoint
from lbcproxy.proxy.budget import Budget
from lbcproxy.proxy.connector import ClientEndpoint, Connector
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
from lbcproxy.reactor import ListeningPort
from lbcproxy.session import Observer
from lbcproxy.transport.key_log import LoggedSecret
from lbcproxy.transport.kind import Transport

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
"""Bytes that all sessions may buffer together by default."""
MAX_SESSIONS = 4096
"""Sessions at once by default."""
BACKLOG = 1024
"""Clients that may wait to be accepted: many reconnect at once when a node restarts."""


class CannotListen(LbcproxyError):
    """A listener cannot be opened. The text says which one and why."""

    hint = "write another port after the @, or 0 for any free port"


class Shared:
    """What all proxies of a process share: the numbering of sessions and entries, and limits."""

    def __init__(self, memory: int = MEMORY, clock: Clock | None = None) -> None:
        self.numbers: Iterator[int] = itertools.count(1)
        self.sessions: Iterator[int] = itertools.count(1)
        self.budget = Budget(memory)
        self.inspections = DeferredInspection(clock)
        self.interception: Interception | None = None
        """Holds messages until the operator decides, if that is enabled."""
        self.log_key: Callable[[LoggedSecret], object] | None = None
        """Writes the secrets of encrypted legs to a key log, if there is one."""
        self.loop_guard = LoopGuard()


class ProxySettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a proxy; times in seconds."""

    network: Network
    modes: tuple[Mode, ...]
    dial_timeout: float = 30.0
    dial_retry: float = 0.0
    """For how long upstreams that do not answer are tried again for a client."""
    handshake_timeout: float | None = None
    """A session without a handshake ends after this time; None for never."""
    idle_timeout: float | None = None
    """A session in which no byte passes ends after this time; None for never."""
    max_sessions: int = MAX_SESSIONS
    """Sessions at once; further clients are refused."""
    max_sessions_per_address: int | None = None
    """Sessions at once from one address; None for no such limit."""
    stream_above: int | None
    """Payloads above this many bytes pass in parts; None if every message is read whole."""
    plugins: Plugins = Plugins()
    shown: IdentityOverrides = IdentityOverrides()
    """What each node is shown of the other in mode `terminate`."""
    faults: tuple[Fault, ...] = ()
    seed: int = 0
    """The seed of the faults' random numbers."""
    socks_upstream: Endpoint | None = None
    """The SOCKS proxy through which clients that choose their own destination are connected."""
    client_transport: Transport = Transport.V1
    upstream_transport: Transport = Transport.V1
    """The transports of the legs; see `RelaySettings`."""
    destinations: Destinations = Destinations()
    """The destinations that those clients may choose."""


class Listener(Factory):
    """Accepts the clients of one mode, and makes a session for each."""

    def __init__(self, mode: Mode, service: ProxyService) -> None:
        self.mode = mode
        self._service = service
        self.noisy = False

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """Return the protocol of a new session; None closes the connection: there are too many."""
        relay = self._service.new_session(self.mode, str(getattr(addr, "host", "")))
        return None if relay is None else relay.client


class ProxyService(Service):
    """Several listeners and all their sessions.

    Args:
        reactor: Twisted's reactor, or a test's: its clock, TCP and name resolver are used.
        settings: The settings of the proxy.
        observers: Are notified of all sessions, in this order.
        now: Returns the time of day in nanoseconds since 1970, UTC.
        shared: What it shares with other proxies of the process.
    """

    def __init__(
        self,
        reactor: Clock,
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
        self._ports: list[ListeningPort] = []
        self._relays: dict[ProxySession, str] = {}
        self._addresses: Counter[str] = Counter()
        self._refused = RejectedClients(reactor)
        self._waiting_for_end: list[Deferred[None]] = []

    async def listen(self) -> list[Mode]:
        """Open all listeners; return the modes with their actual ports. Raises CannotListen."""
        opened = []
        for mode in self._settings.modes:
            listener = Listener(mode, self)
            try:
                port = await self._server_endpoint(mode.listen).listen(listener)
            except Exception as error:
                await self.stopService()
                raise CannotListen(f"cannot listen at {mode.listen}: {_reason(error)}") from error
            self._ports.append(port)
            real = Endpoint(mode.listen.host, port.getHost().port)
            listener.mode = msgspec.structs.replace(mode, listen=real)
            opened.append(listener.mode)
        return opened

    @property
    def sessions(self) -> Sequence[ProxySession]:
        """The current sessions."""
        return tuple(self._relays)

    def plugins_changed(self) -> None:
        """Have all sessions use the plugins as they have been reloaded."""
        for relay in self.sessions:
            relay.plugins_changed()

    def change(self, settings: ProxySettings, observers: Sequence[Observer]) -> None:
        """Change the settings of new sessions, and the faults of all. The modes do not change."""
        before = self._settings.faults
        self._settings = settings
        self._observers = tuple(observers)
        if settings.faults != before:
            for relay in self.sessions:
                if isinstance(relay, HasFaults):
                    relay.change_faults(settings.faults)

    def new_session(self, mode: Mode, address: str) -> ProxySession | None:
        """Return a new session for a client's address; None if there are too many already."""
        reason = self._reason_to_refuse(address)
        if reason:
            self._refused.record(mode.listen, address, reason)
            return None
        number = next(self._shared.sessions)
        relay = all_modes()[mode.kind].make(
            number, self._relay_settings(mode), self._runtime(mode), self
        )
        self._relays[relay] = address
        self._addresses[address] += 1
        return relay

    def _reason_to_refuse(self, address: str) -> str:
        limit, per_address = self._settings.max_sessions, self._settings.max_sessions_per_address
        if len(self._relays) >= limit:
            return f"there are {limit} sessions already (max_sessions)"
        if per_address is not None and self._addresses[address] >= per_address:
            return f"it has {per_address} sessions already (max_sessions_per_address)"
        return ""

    def session_ended(self, relay: ProxySession) -> None:
        """Remove a session that has ended."""
        address = self._relays.pop(relay, "")
        self._addresses[address] -= 1
        if self._addresses[address] <= 0:
            del self._addresses[address]
        if not self._relays:
            waiting, self._waiting_for_end = self._waiting_for_end, []
            for deferred in waiting:
                deferred.callback(None)

    def stop_listening(self) -> Deferred[Any]:
        """Accept no more clients; the Deferred fires when the ports are free."""
        stopped = [port.stopListening() for port in self._ports]
        self._ports.clear()
        return DeferredList([each for each in stopped if each is not None])

    def stopService(self) -> Deferred[Any]:
        """Stop listening and end all sessions in order; the Deferred fires when all have ended."""
        super().stopService()  # type: ignore[no-untyped-call]
        stopped = [self.stop_listening()]
        for relay in self.sessions:
            relay.stop()
        if self._relays:
            ended: Deferred[None] = Deferred()
            self._waiting_for_end.append(ended)
            stopped.append(ended)
        return DeferredList(stopped)

    def abort(self) -> None:
        """End all sessions at once."""
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
            client_transport=self._settings.client_transport,
            upstream_transport=self._settings.upstream_transport,
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
            log_key=self._shared.log_key,
            dial_timeout=self._settings.dial_timeout,
        )

    def _client_endpoint(self, mode: Mode) -> Callable[[Any, Endpoint, float], ClientEndpoint]:
        """Return what makes the endpoint of an upstream. Rules only apply if clients choose it."""
        rules, proxy = self._settings.destinations, self._settings.socks_upstream
        if mode.kind != SOCKS5.name:
            return client_endpoint
        if proxy is not None:
            return functools.partial(SocksEndpoint, proxy=proxy, rules=rules)
        return functools.partial(RestrictedEndpoint, rules=rules) if rules else client_endpoint

    def _server_endpoint(self, address: Endpoint) -> Any:
        kind = TCP6ServerEndpoint if ":" in address.host else TCP4ServerEndpoint
        return kind(self._reactor, address.port, backlog=BACKLOG, interface=address.host)


def _reason(error: Exception) -> str:
    reason = getattr(error, "socketError", error)
    return str(getattr(reason, "strerror", None) or reason)
