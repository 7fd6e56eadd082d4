"""What passes between two legs that each shake hands with us: through plugins, framed anew.

The handshake and pings of each leg are its own, and pass by here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from lbcproxy.peer import Peer
from lbcproxy.proxy.bridge import bridge, reads_witness
from lbcproxy.proxy.negotiation import Negotiation
from lbcproxy.proxy.plugin_host import PluginHost, chain_for
from lbcproxy.proxy.settings import RelaySettings, Runtime
from lbcproxy.session import Delivery, Direction, End, Entry, Session, SessionInfo
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.wire import Frame, Framer
from lbcproxy.wire.codec import Codec

__all__ = ["BridgedSession", "TerminatingBridge"]

BEFORE_READY = 65_536
"""Bytes taken from a side before the other has shaken hands."""
GONE = "the other side is gone"


class BridgedSession(Protocol):
    """The session it works for."""

    number: int

    @property
    def settings(self) -> RelaySettings:
        """What the operator decided."""

    @property
    def runtime(self) -> Runtime:
        """What it uses while it runs."""

    def leg_to(self, direction: Direction) -> Peer | None:
        """Give the leg on which a direction's messages go out, if there is one yet."""

    def tell(self, direction: Direction, delivery: Delivery) -> None:
        """Tell the observers."""

    @property
    def negotiation(self) -> Negotiation:
        """What the nodes agree on before `verack`."""

    def stop(self, end: End = ...) -> None:
        """End the session in order."""


class TerminatingBridge:
    """The messages of one session; what its pipeline needs of a session's owner, too."""

    def __init__(self, session: BridgedSession, core: Session) -> None:
        self.number = session.number
        self.stop = session.stop
        self._session = session
        self._core = core
        runtime, plugins = session.runtime, session.settings.plugins
        self._hosting = PluginHost(self, runtime.clock, runtime.now, plugins.limit)
        chain = chain_for(self.number, session.settings, runtime)
        self._pipeline = self._hosting.pipeline(core, chain, plugins.policy)

    @property
    def held(self) -> int:
        """Bytes that plugins hold."""
        return 0 if self._pipeline is None else self._pipeline.buffered_bytes

    def is_waiting(self, direction: Direction) -> bool:
        """Whether plugins hold something of a direction."""
        return self._pipeline is not None and self._pipeline.is_waiting(direction)

    def start(self, facts: SessionInfo) -> None:
        """Begin: a client is there."""
        if self._pipeline is not None:
            self._pipeline.start(facts)

    def leg_ready(self, leg: Peer, receives: Direction) -> None:
        """Take note of what is read and written on a leg from now on."""
        encoding = "auto" if reads_witness(leg) else "base"
        network = self._session.settings.network
        self._core.set_codec(receives, Codec(network, leg.core.protocol_version, encoding))
        if self._pipeline is not None:
            self._pipeline.check_handshake()

    def plugins_changed(self) -> None:
        """Have the plugins as their files are now, and the faults that there are."""
        if self._pipeline is not None:
            session = self._session
            chain = chain_for(self.number, session.settings, session.runtime, self._pipeline.chain)
            self._pipeline.change(chain)

    def take(self, delivery: Delivery) -> None:
        """Take a message that came on one leg for the other."""
        [entry] = delivery.entries
        if self._pipeline is None:
            self._pass(entry.direction, delivery)
        else:
            self._pipeline.offer(entry.direction, delivery)

    def end(self, why: str) -> None:
        """Give up what is held: nothing can be sent any more."""
        if self._pipeline is not None:
            self._pipeline.cut(self._session.runtime.now())
            self._pipeline.end(why)
        self._hosting.stop()

    # What the pipeline asks for.

    def send_on(self, direction: Direction, data: bytes) -> None:
        """Nothing: the messages are framed one by one, in `tell_passed`."""

    def tell_passed(self, direction: Direction, deliveries: Sequence[Delivery]) -> None:
        """Send what the plugins let pass, and tell of all."""
        for delivery in deliveries:
            self._pass(direction, delivery)
        self._session.negotiation.look(direction)

    def finish_on(self, direction: Direction) -> None:
        """Nothing: a leg that closes ends the session."""

    def hold(self, direction: Direction, held: bool) -> None:
        """Stop reading what comes in a direction, or go on."""
        sender = self._session.leg_to(direction.other)
        if sender is not None and held:
            sender.pause("plugins")
        elif sender is not None:
            sender.resume("plugins")

    def is_full(self, direction: Direction) -> bool:
        """Whether the receiver in a direction reads less than is sent."""
        receiver = self._session.leg_to(direction)
        return receiver is not None and receiver.full

    # One message.

    def _pass(self, direction: Direction, delivery: Delivery) -> None:
        source, target = self._session.leg_to(direction.other), self._session.leg_to(direction)
        [entry] = delivery.entries
        if delivery.sent == b"":  # dropped
            self._session.tell(direction, delivery)
        elif source is None or target is None or source.core.closed or target.core.closed:
            dropped = _noted(entry, EntryVerdict.DROP, ("terminate", GONE))
            self._session.tell(direction, Delivery(delivery.raw, (dropped,), b""))
        elif delivery.sent is None:
            self._bridge(entry, source, target)
        else:
            self._session.tell(direction, delivery)
            for command, raw in _frames(self._core, delivery.sent):
                if self._session.negotiation.offer(direction, command, raw) != "":
                    target.forward(command, raw)
            self._wait_for(source, target)

    def _bridge(self, entry: Entry, source: Peer, target: Peer) -> None:
        """Send what came as it came, or encoded for a node that reads it differently."""
        message = entry.message
        assert message is not None
        offered = self._session.negotiation.offer(entry.direction, message.command, message.raw)
        if offered is not None:
            if offered:
                entry = _noted(entry, EntryVerdict.DROP, ("terminate", offered))
            delivery = Delivery(message.raw, (entry,), b"" if offered else None)
            self._session.tell(entry.direction, delivery)
            return
        bridged = bridge(message, source, target)
        sent = None
        if bridged.verdict != EntryVerdict.PASS:
            entry, sent = _noted(entry, bridged.verdict, bridged.trail), bridged.raw
        self._session.tell(entry.direction, Delivery(message.raw, (entry,), sent))
        if bridged.raw:
            target.forward(message.command, bridged.raw)
            self._wait_for(source, target)

    def _wait_for(self, source: Peer, target: Peer) -> None:
        """Until a side has shaken hands all that it is sent waits with us."""
        if not target.core.ready and target.core.sender.outbox.size > BEFORE_READY:
            source.pause("waiting")


def _noted(entry: Entry, verdict: str, trail: tuple[str, ...]) -> Entry:
    return msgspec.structs.replace(entry, verdict=verdict, trail=(*entry.trail, *trail))


def _frames(core: Session, sent: bytes) -> list[tuple[str, bytes]]:
    """Take apart what a plugin sends: bytes that are no message go out as they are."""
    framer = Framer(core.network)
    items = [*framer.feed(sent), *framer.close()]
    return [(each.command if isinstance(each, Frame) else "", each.raw) for each in items]  # type: ignore[union-attr]
