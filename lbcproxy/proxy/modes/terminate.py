"""`terminate:HOST:PORT@[HOST:]PORT`: each side talks to us.

Two full peers: the client shakes hands with one, the other with the upstream. What each is shown
of the other (user agent, services, version, height) is the other's own, or what is configured.
Messages then go through verbatim where both sides agreed on the same, and are encoded anew where
not. What we say and hear ourselves is in the capture as injected and dropped.
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
    Message,
    Session,
    SessionInfo,
)
from lbcproxy.session.end import STOPPED, STOPPED_AT_ONCE
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.envelope import unpack
from lbcproxy.wire.messages.handshake import Version
from lbcproxy.wire.registry import record_of

__all__ = ["MODE", "TerminatingSession"]

OURS = frozenset({"version", "verack"})
"""Commands of the handshake, which each side has with us."""
HIGHEST = 70017
"""The highest protocol version of which we know what it brings."""
PINGS = frozenset({"ping", "pong"})


class TerminatingSession:
    """One session whose both sides talk to us."""

    log = Logger(observer=LOG_FILTER)

    def __init__(
        self, number: int, settings: RelaySettings, runtime: Runtime, owner: SessionOwner
    ) -> None:
        self.number = number
        self.settings = settings
        self.runtime = runtime
        self._owner = owner
        self.client = TerminatingLeg(self, Direction.TO_UPSTREAM, self._config())
        self.upstream: TerminatingLeg | None = None
        self._core = Session(number, settings.network, numbers=runtime.numbers, stream_above=None)
        self._exchange = TerminatingBridge(self, self._core)
        hold = min(MAX_VERACK_DELAY, (settings.handshake_timeout or Timeouts().negotiate) / 2)
        is_waiting = self._exchange.is_waiting
        self.negotiation = Negotiation(runtime.clock, hold, self.leg_to, is_waiting)
        self._inspector = Inspector(self._core, runtime.observers, runtime.now, runtime.inspections)
        self._dial_out: Dial | None = None
        self._dialling: Deferred[Any] | None = None
        self._upstream_version: Deferred[Version | None] = Deferred()
        self._gone: set[TerminatingLeg] = set()

    @property
    def held(self) -> int:
        """Bytes of messages that are not whole yet, or wait to be passed on."""
        legs = [leg for leg in (self.client, self.upstream) if leg is not None]
        own = sum(leg.core.receiver.buffered_bytes + leg.core.sender.outbox.size for leg in legs)
        return own + self._exchange.held

    def reduce_memory(self) -> None:
        """End: what passes here has to be read whole."""
        self._end(End(EndCause.LIMIT, detail="more is held than all sessions together may"))

    def plugins_changed(self) -> None:
        """Have the plugins as their files are now."""
        self._exchange.plugins_changed()

    def change_faults(self, faults: Sequence[Fault]) -> None:
        """Have other faults from the next message on: those by message, there are no others."""
        self.settings = msgspec.structs.replace(self.settings, faults=tuple(faults))
        self._exchange.plugins_changed()

    def stop(self, end: End = STOPPED) -> None:
        """End both sides in order."""
        self._end(end)

    def abort(self) -> None:
        """End both sides at once."""
        self._end(STOPPED_AT_ONCE)
        for leg in (self.client, self.upstream):
            if leg is not None:
                leg.abort()

    # What the legs tell.

    async def version_came(self, leg: TerminatingLeg, version: Version) -> None:
        """Show each side what the other has said of itself."""
        if leg is self.upstream:
            if not self._upstream_version.called:
                self.negotiation.begin()
                self._upstream_version.callback(version)
            return
        if version.version < MIN_VERSION:
            return  # the leg refuses it; the upstream need not hear of it
        self._dial(version)
        theirs = await self._upstream_version
        if theirs is not None:
            leg.show(**self._shown(theirs))

    def read(self, leg: TerminatingLeg, read: Read) -> None:
        """Take what came on a leg: keep it, pass it on, or let the peer refuse it."""
        direction, message, error = leg.receives, read.message, read.error
        side = self._core.client if leg is self.client else self._core.upstream
        side.bytes += read.size
        if message is None:
            side.junk_bytes += read.size
            advice = networks.whose_magic(self.settings.network, read.junk)
            self._tell_junk(direction, read, f"{error}{advice}")
            if advice and leg.core.closed:
                self._inspector.ending(self._end_of(leg, f"{leg.core.closed}{advice}"))
            return
        side.see(message)
        other = self._other(leg)
        mine = message.command in OURS or (
            message.command in PINGS and not self.settings.shown.pass_pings
        )
        unknown = record_of(message.command) is None
        # A leg that is closed already has ended for this message, or can send nothing any more.
        over = other is None or bool(leg.core.closed or other.core.closed)
        early = "" if message.command in OURS else came_early(leg, message.command)
        if other is None or over or mine or early or (error is not None and not unknown):
            trail = ("terminate", early) if early else ("terminate",)
            self._tell(direction, message, EntryVerdict.DROP, trail, message.raw, b"")
        else:
            entry = self._entry(direction, message, EntryVerdict.PASS, ())
            self._exchange.take(Delivery(message.raw, (entry,)))

    def unreadable(self, leg: TerminatingLeg, size: int) -> None:
        """End: a defect in reading a leg leaves nothing that could be passed on."""
        self.log.failure("session {number}: cannot be read on", number=self.number)
        self._inspector.lost(size)
        try:
            self._end(End(EndCause.FAILURE, detail=f"a defect in reading the {self._name(leg)}"))
        except Exception:
            leg.abort()  # which ends the other one too

    def wrote(self, leg: TerminatingLeg, raw: bytes) -> None:
        """Tell what a leg has said by itself."""
        direction = leg.receives.other
        codec = Codec(self.settings.network, leg.core.protocol_version, "auto")
        message = Message(unpack(raw).command, direction, raw, codec)
        self._tell(direction, message, EntryVerdict.INJECT, ("terminate",), b"", raw)

    def leg_full(self, leg: TerminatingLeg) -> None:
        """Have the other side wait, and not be blamed for it."""
        other = self._other(leg)
        if other is not None:
            other.pause("full")

    def leg_drained(self, leg: TerminatingLeg) -> None:
        """Have the other side go on."""
        other = self._other(leg)
        if other is not None:
            other.resume("full")

    def leg_ready(self, leg: TerminatingLeg) -> None:
        """Take note of the version that a side has agreed on with us."""
        self._exchange.leg_ready(leg, leg.receives)
        other = self._other(leg)
        if other is not None:
            other.resume("waiting")

    def leg_gone(self, leg: TerminatingLeg, why: str) -> None:
        """End the other side, and the session behind it."""
        self._gone.add(leg)
        if leg is self.client and self.upstream is not None and not self._upstream_version.called:
            why = f"{why}, waiting for the upstream"
        self._end(self._end_of(leg, why))
        if not self._upstream_version.called:
            self._upstream_version.callback(None)
        other = self._other(leg)
        if (other is None or other in self._gone) and self._inspector.running:
            self._exchange.end(self._inspector.why)
            if (end := self._inspector.end) is not None and end.cause is EndCause.RESET:
                self._inspector.reset(leg.receives if end.by is None else end.by)
            self.runtime.budget.forget(self)
            self._inspector.ended()
            self._owner.session_ended(self)

    # The session itself.

    def leg_opened(self, leg: TerminatingLeg) -> None:
        """Tell that a connection is there."""
        if leg is not self.client:
            assert self._dial_out is not None
            self._inspector.connected(leg.local_address, self._dial_out.leads_to)
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
        self._exchange.start(self._inspector.info)

    # What the exchange asks.

    def leg_to(self, direction: Direction) -> TerminatingLeg | None:
        """Give the leg on which a direction's messages go out, if there is one yet."""
        return self.client if direction is Direction.TO_CLIENT else self.upstream

    def tell(self, direction: Direction, delivery: Delivery) -> None:
        """Tell the observers."""
        self._inspector.catch_up()
        self._inspector.delivered(direction, [delivery])

    def _name(self, leg: TerminatingLeg) -> str:
        return "client" if leg is self.client else "upstream"

    def _other(self, leg: TerminatingLeg) -> TerminatingLeg | None:
        return self.upstream if leg is self.client else self.client

    def _dial(self, version: Version) -> None:
        upstream = TerminatingLeg(self, Direction.TO_CLIENT, self._config(**self._shown(version)))
        self.upstream = upstream
        self._dial_out = self.runtime.dial(self.settings.upstreams)
        self._dialling = connect(self._dial_out, upstream)
        self._dialling.addCallbacks(self._joined, self._not_joined)

    def _joined(self, _: Peer) -> None:
        self._dialling = None

    def _not_joined(self, failure: Failure) -> None:
        self._dialling = None
        if not failure.check(*CONNECT_ERRORS):
            self.log.failure("session {number}: cannot dial", failure, number=self.number)
        self._inspector.ending(unreachable(failure.value))
        assert self.upstream is not None
        self.upstream.disconnect(self._inspector.why, EndCause.UNREACHABLE)

    def _end_of(self, leg: TerminatingLeg, why: str) -> End:
        """Return the end that a leg whose connection is over makes of the session."""
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

    def _config(self, **shown: Any) -> PeerConfig:
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
                ping=min(Timeouts().ping, idle / 3),  # a quiet node is asked before it is given up
            ),
            **shown,
        )

    def _shown(self, version: Version) -> dict[str, Any]:
        """Say what a side is shown, of what the other has said."""
        shown = self.settings.shown
        height = version.start_height if shown.height is None else shown.height
        own = self.settings.network.protocol_version
        seen = min(version.version & 0xFFFFFFFF, max(own, HIGHEST))
        return {
            "user_agent": version.user_agent if shown.user_agent is None else shown.user_agent,
            "services": version.services if shown.services is None else shown.services,
            "protocol_version": shown.protocol_version or seen,
            "relay": (version.relay is not False) if shown.relay is None else shown.relay,
            "newest_block": lambda: (bytes(32), height or 0),
        }

    def _tell_junk(self, direction: Direction, read: Read, why: str) -> None:
        entry = self._entry(
            direction, None, EntryVerdict.DROP, ("terminate",), junk=read.junk, why=why
        )
        self.tell(direction, Delivery(read.junk, (entry,), b""))

    def _tell(
        self,
        direction: Direction,
        message: Message,
        verdict: str,
        trail: tuple[str, ...],
        raw: bytes,
        sent: bytes,
    ) -> None:
        self.tell(
            direction, Delivery(raw, (self._entry(direction, message, verdict, trail),), sent)
        )

    def _entry(
        self,
        direction: Direction,
        message: Message | None,
        verdict: str,
        trail: tuple[str, ...],
        **junk: Any,
    ) -> Entry:
        return Entry(
            number=next(self.runtime.numbers),
            time_ns=self.runtime.now(),
            session=self.number,
            direction=direction,
            message=message,
            verdict=verdict,
            trail=trail,
            **junk,
        )


MODE = ModeKind(
    name="terminate",
    help="completes the handshake with each side itself",
    upstream=True,
    changes=True,
    make=TerminatingSession,
)
