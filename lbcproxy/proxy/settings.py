"""What the sessions of a listener have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, runtime_checkable
from typing import Protocol as Interface

import msgspec

from lbcproxy.clock import Clock
from lbcproxy.endpoint import Endpoint
from lbcproxy.faults import Fault
from lbcproxy.networks import Network
from lbcproxy.peer.connection import Connection
from lbcproxy.plugins.loader import PluginFile
from lbcproxy.plugins.pipeline import OPEN
from lbcproxy.proxy.budget import Budget
from lbcproxy.proxy.deferred_inspection import DeferredInspection
from lbcproxy.proxy.interception import Interception
from lbcproxy.proxy.loop_guard import LoopGuard
from lbcproxy.session import End, Observer
from lbcproxy.session.end import STOPPED

__all__ = [
    "Answer",
    "Dial",
    "HasFaults",
    "IdentityOverrides",
    "Plugins",
    "ProxySession",
    "RelaySettings",
    "Runtime",
    "SessionOwner",
    "no_answer",
]


class IdentityOverrides(msgspec.Struct, frozen=True, kw_only=True):
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

    loaded: tuple[PluginFile, ...] = ()
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
    """What the operator decided for the sessions of a listener; times in seconds."""

    network: Network
    listen: Endpoint
    """The address that clients connect to."""
    upstreams: tuple[Endpoint, ...] = ()
    """A session connects to the first of them that answers."""
    stream_above: int | None
    """Payloads above this many bytes pass in parts; None if every message is read whole."""
    linger: float = 300.0
    """How long a node may take to read what waits for it after the other has closed."""
    stop_linger: float = 5.0
    """The same after the proxy has been stopped."""
    handshake_timeout: float | None = None
    """A session without a handshake ends after this time; None for never."""
    idle_timeout: float | None = None
    """A session in which no byte passes ends after this time; None for never."""
    shown: IdentityOverrides = IdentityOverrides()
    """What each node is shown of the other in mode `terminate`."""
    plugins: Plugins = Plugins()
    faults: tuple[Fault, ...] = ()
    """In the order in which bytes meet them."""
    seed: int = 0
    """The seed of the faults' random numbers."""

    @property
    def upstream(self) -> Endpoint:
        """The upstream that is tried first."""
        return self.upstreams[0]


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """What the sessions of a listener use while they run."""

    dial: Callable[[tuple[Endpoint, ...]], Dial]
    """Makes the endpoint that connects to the first of some upstreams that answers."""
    observers: tuple[Observer, ...]
    """In the order in which they are told."""
    clock: Clock
    now: Callable[[], int]
    """The time of day in nanoseconds since 1970, UTC."""
    numbers: Iterator[int]
    """Numbers the entries of all sessions."""
    budget: Budget
    """Bounds what all sessions hold together."""
    inspections: DeferredInspection = msgspec.field(default_factory=DeferredInspection)
    """What has been forwarded and is still to be inspected, of all sessions."""
    loop_guard: LoopGuard = msgspec.field(default_factory=LoopGuard)
    """The connections of all sessions, to find those that lead back to us."""
    interception: Interception | None = None
    """Holds messages by hand, if that is possible."""


Answer = Callable[[Endpoint | BaseException], bytes]
"""Returns what to send a client when dialling is over; see `Relay`."""


def no_answer(_: Endpoint | BaseException) -> bytes:
    """Send the client nothing: an upstream that cannot be reached is then a reset."""
    return b""


class ProxySession(Interface):
    """A session as the service knows it: what a mode's `make` gives."""

    number: int

    @property
    def client(self) -> Connection:
        """What the client's connection is given to."""

    @property
    def held(self) -> int:
        """Bytes it holds: messages not whole yet, and what waits for an upstream."""

    def reduce_memory(self) -> None:
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


class SessionOwner(Interface):
    """Who keeps the sessions."""

    def session_ended(self, relay: ProxySession) -> None:
        """Both legs are gone."""
