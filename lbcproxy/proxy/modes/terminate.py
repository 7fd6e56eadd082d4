"""`terminate:HOST:PORT@[HOST:]PORT`: each node has a connection with us.

There are two full peers: one completes the handshake with the client, the other with the upstream.
Each node is shown the user agent, services, version and height of the other, or what is configured.
Messages are then forwarded verbatim if both nodes agreed on the same version and encoding, and
encoded again otherwise. Our own messages are recorded as injected, those meant for us as dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbcproxy import networks
from lbcproxy.faults import Fault
from lbcproxy.peer import Peer, PeerConfig, Policy, StallMode, Timeouts
from lbcproxy.peer.dial import CONNECT_ERRORS, connect
from lbcproxy.peer.effects import Read
from lbcproxy.peer.handshake import MIN_VERSION
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.proxy.connector import unreachable
from lbcproxy.proxy.inspector import Inspector
from lbcproxy.proxy.leg import TerminatingLeg
from lbcproxy.proxy.modes import ModeKind
from lbcproxy.proxy.negotiation import MAX_VERACK_DELAY, Negotiation, came_early
from lbcproxy.proxy.settings import Dial, RelaySettings, Runtime, SessionOwner
from lbcproxy.proxy.terminating_bridge import TerminatingBridge
from lbcproxy.session import (
    Delivery,
    Direction,
    End,
    EndCause,
    Entry,
    LegTransport,
    Message,
    Session,
    SessionInfo,
    Transports,
)
from lbcproxy.session.end import STOPPED, STOPPED_AT_ONCE
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.transport.kind import Transport
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.envelope import unpack
from lbcproxy.wire.messages.handshake import Version
from lbcproxy.wire.registry import record_of

__all__ = ["MODE", "TerminatingSession"]

HANDSHAKE = frozenset({"version", "verack"})
"""Commands of the handshake that each node has with us."""
MAX_PROTOCOL_VERSION = 70017
"""The highest protocol version that we know."""
PINGS = frozenset({"ping", "pong"})


class TerminatingSession:
    """A session of two nodes that each have a connection with us."""

    log = Logger(observer=LOG_FILTER)

    def __init__(
        self, number: int, settings: RelaySettings, runtime: Runtime, owner: SessionOwner
    ) -> None:
        self.number = number
        self.settings = settings
        self.runtime = runtime
        self._owner = owner
        self.client = TerminatingLeg(
            self, Direction.TO_UPSTREAM, self._config(transport=settings.client_transport)
        )
        self._upstream_transport = LegTransport(
            Transport.V2 if settings.upstream_transport is Transport.V2 else Transport.V1
        )
        self.upstream: TerminatingLeg | None = None
        self._core = Session(number, settings.network, numbers=runtime.numbers, stream_above=None)
        self._bridge = TerminatingBridge(self, self._core)
        hold = min(MAX_VERACK_DELAY, (settings.handshake_timeout or Timeouts().negotiate) / 2)
        is_waiting = self._bridge.is_waiting
        self.negotiation = Negotiation(runtime.clock, hold, self.leg_to, is_waiting)
        self._inspector = Inspector(self._core, runtime.observers, runtime.now, runtime.inspections)
        self._dialler: Dial | None = None
        self._dialling: Deferred[Any] | None = None
        self._upstream_version: Deferred[Version | None] = Deferred()
        self._gone: set[TerminatingLeg] = set()

    @property
    def held(self) -> int:
        """Bytes of messages that are incomplete, or that wait to be forwarded."""
        legs = [leg for leg in (self.client, self.upstream) if leg is not None]
        own = sum(
            leg.core.receiver.buffered_bytes + leg.core.sender.outbox.size + leg.carrier_buffer
            for leg in legs
        )
        return own + self._bridge.held

    def reduce_memory(self) -> None:
        """End the session: messages have to be read whole here."""
        self._end(End(EndCause.LIMIT, detail="more is held than all sessions together may"))

    def plugins_changed(self) -> None:
        """Use the plugins as they have been reloaded."""
        self._bridge.plugins_changed()

    def change_faults(self, faults: Sequence[Fault]) -> None:
        """Replace the faults from the next message on; only faults by message apply here."""
        self.settings = msgspec.structs.replace(self.settings, faults=tuple(faults))
        self._bridge.plugins_changed()

    def stop(self, end: End = STOPPED) -> None:
        """End both legs in order."""
        self._end(end)

    def abort(self) -> None:
        """End both legs at once."""
        self._end(STOPPED_AT_ONCE)
        for leg in (self.client, self.upstream):
            if leg is not None:
                leg.abort()

    # Events of the legs.

    async def version_came(self, leg: TerminatingLeg, version: Version) -> None:
        """Show each node what the other has sent in its `version`."""
        if leg is self.upstream:
            if not self._upstream_version.called:
                self.negotiation.begin()
                self._upstream_version.callback(version)
            return
        if version.version < MIN_VERSION:
            return  # the leg refuses it; there is no need to dial
        self._dial(version)
        upstream_version = await self._upstream_version
        if upstream_version is not None:
            leg.show(**self._identity(upstream_version))

    def read(self, leg: TerminatingLeg, read: Read) -> None:
        """Decide what to do with what a leg has read: keep it, forward it, or drop it."""
        direction, message, error = leg.receives, read.message, read.error
        side = self._core.client if leg is self.client else self._core.upstream
        side.bytes += read.size
        if message is None:
            side.junk_bytes += read.size
            advice = networks.whose_magic(self.settings.network, read.junk)
            self._notify_junk(direction, read, f"{error}{advice}")
            if advice and leg.core.closed:
                self._inspector.ending(self._end_of(leg, f"{leg.core.closed}{advice}"))
            return
        side.see(message)
        other = self._other(leg)
        for_us = message.command in HANDSHAKE or (
            message.command in PINGS and not self.settings.shown.pass_pings
        )
        unknown = record_of(message.command) is None
        # A leg that is already closed was closed by this message, or cannot send any more.
        over = other is None or bool(leg.core.closed or other.core.closed)
        early = "" if message.command in HANDSHAKE else came_early(leg, message.command)
        if other is None or over or for_us or early or (error is not None and not unknown):
            trail = ("terminate", early) if early else ("terminate",)
            self._notify(direction, message, EntryVerdict.DROP, trail, message.raw, b"")
        else:
            entry = self._entry(direction, message, EntryVerdict.PASS, ())
            self._bridge.forward(Delivery(message.raw, (entry,)))

    def unreadable(self, leg: TerminatingLeg, size: int) -> None:
        """End the session: after a bug in reading a leg nothing more can be forwarded."""
        self.log.failure("session {number}: reading failed", number=self.number)
        self._inspector.lost(size)
        try:
            self._end(End(EndCause.FAILURE, detail=f"a defect in reading the {self._name(leg)}"))
        except Exception:
            leg.abort()  # this also ends the other leg

    def wrote(self, leg: TerminatingLeg, raw: bytes) -> None:
        """Report a message that a leg has sent by itself."""
        direction = leg.receives.other
        codec = Codec(self.settings.network, leg.core.protocol_version, "auto")
        message = Message(unpack(raw).command, direction, raw, codec)
        self._notify(direction, message, EntryVerdict.INJECT, ("terminate",), b"", raw)

    def leg_full(self, leg: TerminatingLeg) -> None:
        """Pause the other leg, whose deadlines stop too."""
        other = self._other(leg)
        if other is not None:
            other.pause("full")

    def leg_drained(self, leg: TerminatingLeg) -> None:
        """Resume the other leg."""
        other = self._other(leg)
        if other is not None:
            other.resume("full")

    def leg_ready(self, leg: TerminatingLeg) -> None:
        """Set the codec of a leg, and resume the other one."""
        self._bridge.leg_ready(leg, leg.receives)
        other = self._other(leg)
        if other is not None:
            other.resume("waiting")

    def leg_gone(self, leg: TerminatingLeg, why: str) -> None:
        """End the other leg; the session has ended when both are gone."""
        self._gone.add(leg)
        if leg is self.client and self.upstream is not None and not self._upstream_version.called:
            why = f"{why}, waiting for the upstream"
        self._end(self._end_of(leg, why))
        if not self._upstream_version.called:
            self._upstream_version.callback(None)
        other = self._other(leg)
        if (other is None or other in self._gone) and self._inspector.running:
            self._bridge.end(self._inspector.why)
            if (end := self._inspector.end) is not None and end.cause is EndCause.RESET:
                self._inspector.reset(leg.receives if end.by is None else end.by)
            self.runtime.budget.forget(self)
            self._inspector.ended()
            self._owner.session_ended(self)

    # The session itself.

    def leg_opened(self, leg: TerminatingLeg) -> None:
        """Report that a leg is connected."""
        if leg is not self.client:
            assert self._dialler is not None
            self._inspector.connected(leg.local_address, self._dialler.leads_to)
            return
        self._inspector.started(
            SessionInfo(
                number=self.number,
                network=self.settings.network.id,
                client=self.client.address,
                listen=self.client.local_address,
                upstream=self.settings.upstream,
            ),
            upstream_known=len(self.settings.upstreams) == 1,
        )
        if self.settings.client_transport is Transport.V1:
            self._report_transports()
        self._bridge.start(self._inspector.info)

    def leg_agreed(self, leg: TerminatingLeg) -> None:
        """Log the keys of a leg, and report how it carries messages.

        The client's leg is reported before the upstream is connected, and again with its session
        id, since the client's `version` comes before.
        """
        logged = leg.logged_secret
        if logged is not None and self.runtime.log_key is not None:
            self.runtime.log_key(logged)
        if leg is self.upstream:
            self._upstream_transport = leg.leg_transport
        self._report_transports()

    def _report_transports(self) -> None:
        transports = Transports(self.client.leg_transport, self._upstream_transport)
        self._core.transports = transports
        self._inspector.agreed(transports.client, transports.upstream)

    # What the bridge calls.

    def leg_to(self, direction: Direction) -> TerminatingLeg | None:
        """Return the leg on which the messages of a direction are sent, if there is one yet."""
        return self.client if direction is Direction.TO_CLIENT else self.upstream

    def notify(self, direction: Direction, delivery: Delivery) -> None:
        """Report a delivery to the observers."""
        self._inspector.catch_up()
        self._inspector.delivered(direction, [delivery])

    def _name(self, leg: TerminatingLeg) -> str:
        return "client" if leg is self.client else "upstream"

    def _other(self, leg: TerminatingLeg) -> TerminatingLeg | None:
        return self.upstream if leg is self.client else self.client

    def _dial(self, version: Version) -> None:
        transport = self._upstream_transport.kind
        config = self._config(transport=transport, **self._identity(version))
        upstream = TerminatingLeg(self, Direction.TO_CLIENT, config)
        self.upstream = upstream
        self._dialler = self.runtime.dial(self.settings.upstreams)
        self._dialling = connect(self._dialler, upstream)
        self._dialling.addCallbacks(self._upstream_connected, self._dial_failed)

    def _upstream_connected(self, _: Peer) -> None:
        self._dialling = None

    def _dial_failed(self, failure: Failure) -> None:
        self._dialling = None
        if not failure.check(*CONNECT_ERRORS):
            self.log.failure("session {number}: cannot dial", failure, number=self.number)
        self._inspector.ending(unreachable(failure.value))
        assert self.upstream is not None
        self.upstream.disconnect(self._inspector.why, EndCause.UNREACHABLE)

    def _end_of(self, leg: TerminatingLeg, why: str) -> End:
        """Return why the session ends, if it ends because a leg is gone."""
        cause = leg.core.cause or EndCause.CLOSED
        if cause in (EndCause.CLOSED, EndCause.RESET):
            return End(cause, leg.receives, why)
        return End(cause, detail=f"{self._name(leg)}: {why}")

    def _end(self, end: End) -> None:
        self._inspector.ending(end)
        if self._dialling is not None:
            self._dialling.cancel()
        for leg in (self.client, self.upstream):
            if leg is not None and leg not in self._gone:
                leg.disconnect(self._inspector.why, end.cause)
        self.negotiation.end()

    def _config(self, **identity: Any) -> PeerConfig:
        idle = self.settings.idle_timeout or Timeouts().idle
        return PeerConfig(
            network=self.settings.network,
            policy=Policy.TOLERANT,
            stall=StallMode.OFF,
            offers=(),
            hold_verack=True,
            keepalive=not self.settings.shown.pass_pings,
            timeouts=Timeouts(
                negotiate=self.settings.handshake_timeout or Timeouts().negotiate,
                idle=idle,
                ping=min(Timeouts().ping, idle / 3),  # a quiet node gets a ping before it times out
            ),
            **identity,
        )

    def _identity(self, version: Version) -> dict[str, Any]:
        """Return what a node is shown, made of the `version` of the other."""
        shown = self.settings.shown
        height = version.start_height if shown.height is None else shown.height
        own = self.settings.network.protocol_version
        seen = min(version.version & 0xFFFFFFFF, max(own, MAX_PROTOCOL_VERSION))
        return {
            "user_agent": version.user_agent if shown.user_agent is None else shown.user_agent,
            "services": version.services if shown.services is None else shown.services,
            "protocol_version": shown.protocol_version or seen,
            "relay": (version.relay is not False) if shown.relay is None else shown.relay,
            "newest_block": lambda: (bytes(32), height or 0),
        }

    def _notify_junk(self, direction: Direction, read: Read, why: str) -> None:
        entry = self._entry(
            direction, None, EntryVerdict.DROP, ("terminate",), junk=read.junk, why=why
        )
        self.notify(direction, Delivery(read.junk, (entry,), b""))

    def _notify(
        self,
        direction: Direction,
        message: Message,
        verdict: str,
        trail: tuple[str, ...],
        raw: bytes,
        sent: bytes,
    ) -> None:
        self.notify(
            direction, Delivery(raw, (self._entry(direction, message, verdict, trail),), sent)
        )

    def _entry(
        self,
        direction: Direction,
        message: Message | None,
        verdict: str,
        trail: tuple[str, ...],
        junk: bytes = b"",
        why: str | None = None,
    ) -> Entry:
        return Entry(
            number=next(self.runtime.numbers),
            time_ns=self.runtime.now(),
            session=self.number,
            direction=direction,
            message=message,
            verdict=verdict,
            trail=trail,
            junk=junk,
            why=why,
        )


MODE = ModeKind(
    name="terminate",
    help="completes the handshake with each node itself",
    upstream=True,
    changes=True,
    make=TerminatingSession,
)
