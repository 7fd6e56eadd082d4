"""What the sessions of a listener have in common: their settings, and what they use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol as Interface
from typing import runtime_checkable

import msgspec

from lbcproxy.clock import Clock
from lbcproxy.endpoint import Endpoint
from lbcproxy.faults import Fault
from lbcproxy.networks import Network
from lbcproxy.peer.connection import Connection
from lbcproxy.plugins.loader import PluginFile
from lbcproxy.plugins.pipeline import OPEN
from lbcproxy.proxy.budget import Budget
from lbcproxy.proxy.connector import ClientEndpoint
from lbcproxy.proxy.deferred_inspection import DeferredInspection
from lbcproxy.proxy.interception import Interception
from lbcproxy.proxy.loop_guard import LoopGuard
from lbcproxy.session import End, Observer
from lbcproxy.session.end import STOPPED
from lbcproxy.transport.key_log import LoggedSecret
from lbcproxy.transport.kind import Transport

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
    """What each node is shown of the other in mode `terminate`; None shows the real value."""

    user_agent: bytes | None = None
    services: int | None = None
    protocol_version: int | None = None
    relay: bool | None = None
    height: int | None = None
    pass_pings: bool = False
    """Whether pings are forwarded to the other node. Otherwise we answer them."""


class Plugins(msgspec.Struct, frozen=True):
    """The plugins of a listener's sessions."""

    loaded: tuple[PluginFile, ...] = ()
    """In the order in which messages pass them."""
    policy: str = OPEN
    """What happens to a message whose plugin fails: `open` passes it, `closed` drops it."""
    limit: float = 10.0
    """Seconds that a hook may wait."""


class Dial(ClientEndpoint, Interface):
    """Connects one client's session to an upstream."""

    @property
    def leads_to(self) -> Endpoint:
        """The upstream that is connected or being tried."""


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
    """In the order in which bytes pass them."""
    seed: int = 0
    """The seed of the faults' random numbers."""
    client_transport: Transport = Transport.V1
    """The transport of the client leg; `AUTO` for what the client begins with."""
    upstream_transport: Transport = Transport.V1
    """The transport of the upstream leg; `AUTO` for that of the client leg, or v1 if it fails."""

    @property
    def upstream(self) -> Endpoint:
        """The upstream that is tried first."""
        return self.upstreams[0]


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """What the sessions of a listener use while they run."""

    dial: Callable[[tuple[Endpoint, ...]], Dial]
    """Makes the endpoint that connects to the first of some upstreams that answers."""
    observers: tuple[Observer, ...]
    """In the order in which they are notified."""
    clock: Clock
    now: Callable[[], int]
    """The time of day in nanoseconds since 1970, UTC."""
    numbers: Iterator[int]
    """Numbers the entries of all sessions."""
    budget: Budget
    """Limits what all sessions buffer together."""
    inspections: DeferredInspection = msgspec.field(default_factory=DeferredInspection)
    """What has been forwarded and is still to be inspected, of all sessions."""
    loop_guard: LoopGuard = msgspec.field(default_factory=LoopGuard)
    """The connections of all sessions, to detect those that lead back to us."""
    interception: Interception | None = None
    """Holds messages until the operator decides, if that is enabled."""
    log_key: Callable[[LoggedSecret], object] | None = None
    """Writes the secret of an encrypted leg to a key log, if there is one."""
    dial_timeout: float = 30.0
    """Seconds that connecting to an upstream may take."""


Answer = Callable[[Endpoint | BaseException], bytes]
"""Returns what to send a client when dialling is over, from our address on the upstream leg or from
the error. It is not part of the traffic."""


def no_answer(_: Endpoint | BaseException) -> bytes:
    """Send the client nothing. If the upstream cannot be reached, the client is then reset."""
    return b""


class ProxySession(Interface):
    """A session as the service knows it: what a mode's `make` returns."""

    number: int

    @property
    def client(self) -> Connection:
        """The protocol of the client's connection."""

    @property
    def held(self) -> int:
        """Bytes that it buffers: incomplete messages, and what waits for an upstream."""

    def reduce_memory(self) -> None:
        """Buffer less, or end."""

    def plugins_changed(self) -> None:
        """Use the plugins as they have been reloaded."""

    def stop(self, end: End = STOPPED) -> None:
        """End the session in order."""

    def abort(self) -> None:
        """End the session at once."""


@runtime_checkable
class HasFaults(Interface):
    """A session whose faults can be changed."""

    def change_faults(self, faults: Sequence[Fault]) -> None:
        """Replace the faults from now on."""


class SessionOwner(Interface):
    """What has the sessions."""

    def session_ended(self, relay: ProxySession) -> None:
        """A session has ended: both legs are gone."""
