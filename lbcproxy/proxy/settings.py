"""What the sessions of a listener have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, runtime_checkable
from typing import Protocol as Interface

import msgspec

from lbcproxy.endpoint import Endpoint
from lbcproxy.faults import Fault
from lbcproxy.networks import Network
from lbcproxy.peer.connection import Connection
from lbcproxy.plugins.loader import Loaded
from lbcproxy.plugins.pipeline import OPEN
from lbcproxy.proxy.budget import Budget
from lbcproxy.proxy.deferred_inspection import DeferredInspection
from lbcproxy.proxy.interception import Interception
from lbcproxy.proxy.loop_guard import Connections
from lbcproxy.session import End, Observer
from lbcproxy.session.end import STOPPED

__all__ = [
    "Dial",
    "HasFaults",
    "Owner",
    "Plugins",
    "ProxySession",
    "RelaySettings",
    "Shown",
]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What each side is shown of the other in terminate mode; None is the other side's own."""

    user_agent: bytes | None = None
    services: int | None = None
    protocol_version: int | None = None
    relay: bool | None = None
    height: int | None = None
    pass_pings: bool = False
    """Whether pings go through to the other side, or are answered by us."""


class Plugins(msgspec.Struct, frozen=True):
    """The plugins of a listener's sessions."""

    loaded: tuple[Loaded, ...] = ()
    """In the order in which they are asked."""
    policy: str = OPEN
    """What becomes of a message whose plugin fails: `open`, it passes; `closed`, it does not."""
    limit: float = 10.0
    """Seconds that a hook may wait for something."""


class Dial(Interface):
    """One client's way to an upstream; Twisted's `IStreamClientEndpoint`."""

    @property
    def leads_to(self) -> Endpoint:
        """The upstream that is connected, or being tried."""

    def connect(self, factory: Any) -> Any:
        """Give a Deferred of the factory's protocol, connected."""


class RelaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What all sessions of a listener have in common; times in seconds."""

    network: Network
    listen: Endpoint
    """Where their clients connect to."""
    upstreams: tuple[Endpoint, ...] = ()
    """Where a session leads: to the first of them that answers."""
    dial: Callable[[tuple[Endpoint, ...]], Dial]
    """Makes what connects to the first of some upstreams that answers."""
    answer: Callable[[Endpoint | BaseException], bytes] = lambda _: b""
    """What a client is sent when dialling is over, by our address there or what went wrong.

    It is no part of what passes. Without such words a failure is a reset.
    """
    reached: Endpoint | None = None
    """What the client has connected to in its own eyes, if that is not where we listen."""
    observers: tuple[Observer, ...]
    """Who is told, in this order."""
    clock: Any
    """Twisted's `IReactorTime`."""
    now: Callable[[], int]
    """The time of day in nanoseconds."""
    numbers: Iterator[int]
    """Counts entries over all sessions."""
    stream_above: int | None
    linger: float = 300.0
    """How long a node may take to read what waits for it when the other has closed."""
    stop_linger: float = 5.0
    """The same when the proxy is stopped."""
    handshake_timeout: float | None = None
    """After how long a session without a handshake is ended; None for never."""
    idle_timeout: float | None = None
    """The same of one in which not a byte passes."""
    budget: Budget
    """What all sessions may hold together."""
    looks: DeferredInspection = msgspec.field(default_factory=DeferredInspection)
    """What all sessions have still to look at."""
    connections: Connections = msgspec.field(default_factory=Connections)
    """Those of all sessions."""
    shown: Shown = Shown()
    plugins: Plugins = Plugins()
    interception: Interception | None = None
    """Who holds messages by hand, if anybody may."""
    faults: tuple[Fault, ...] = ()
    """What goes wrong on purpose, in the order in which bytes meet it."""
    seed: int = 0
    """What their chances are made of."""

    @property
    def upstream(self) -> Endpoint:
        """The upstream that is tried first."""
        return self.upstreams[0]


class ProxySession(Interface):
    """A session as the service knows it: what a mode's `make` gives."""

    number: int

    @property
    def client(self) -> Connection:
        """What the client's connection is given to."""

    @property
    def held(self) -> int:
        """Bytes it holds: messages not whole yet, and what waits for an upstream."""

    def shed(self) -> None:
        """Hold less, or end."""

    def plugins_changed(self) -> None:
        """Have the plugins as their files are now."""

    def stop(self, end: End = STOPPED) -> None:
        """End the session in order."""

    def abort(self) -> None:
        """End the session at once."""


@runtime_checkable
class HasFaults(Interface):
    """A session, or a kind of session, in which there may be faults."""

    def change_faults(self, faults: Sequence[Fault]) -> None:
        """Have other faults from now on."""


class Owner(Interface):
    """Who keeps the sessions."""

    def relay_ended(self, relay: ProxySession) -> None:
        """Both legs are gone."""
