"""Forward messages between the two legs of a terminated session: plugins, conversion, framing.

Each leg has its own handshake and pings. Those do not pass through here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from lbcproxy.peer import Peer
from lbcproxy.plugins.delivery_queue import dropped
from lbcproxy.proxy.bridge import bridge, reads_witness
from lbcproxy.proxy.negotiation import Negotiation
from lbcproxy.proxy.plugin_host import PluginHost, chain_for
from lbcproxy.proxy.settings import RelaySettings, Runtime
from lbcproxy.proxy.transports.packet_sender import NOT_EXPRESSIBLE
from lbcproxy.session import Delivery, Direction, End, EndCause, Entry, Session, SessionInfo
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.transport.kind import Transport
from lbcproxy.transport.messages import MAX_CONTENTS, contents_of
from lbcproxy.wire import Frame, Framer
from lbcproxy.wire.codec import Codec

__all__ = ["BridgedSession", "TerminatingBridge"]

MAX_BEFORE_READY = 65_536
"""Bytes that may wait for a node until its handshake is complete."""
OTHER_SIDE_GONE = "the other side is gone"


class BridgedSession(Protocol):
    """What the bridge needs of its session."""

    number: int

    @property
    def settings(self) -> RelaySettings:
        """What the operator decided."""

    @property
    def runtime(self) -> Runtime:
        """What the session uses while it runs."""

    def leg_to(self, direction: Direction) -> Peer | None:
        """Return the leg on which the messages of a direction are sent, if there is one yet."""

    def notify(self, direction: Direction, delivery: Delivery) -> None:
        """Report a delivery to the observers."""

    @property
    def negotiation(self) -> Negotiation:
        """What the nodes agree on before `verack`."""

    def stop(self, end: End = ...) -> None:
        """End the session in order."""


class TerminatingBridge:
    """The messages of one session. It is the `PipelineOwner` of its plugins."""

    def __init__(self, session: BridgedSession, core: Session) -> None:
        self.number = session.number
        self.stop = session.stop
        self._session = session
        self._core = core
        runtime, plugins = session.runtime, session.settings.plugins
        self._host = PluginHost(self, runtime.clock, runtime.now, plugins.limit)
        chain = chain_for(self.number, session.settings, runtime)
        self._pipeline = self._host.pipeline(core, chain, plugins.policy)

    @property
    def held(self) -> int:
        """Bytes that plugins are holding."""
        return 0 if self._pipeline is None else self._pipeline.buffered_bytes

    def is_waiting(self, direction: Direction) -> bool:
        """Whether plugins are holding messages of a direction."""
        return self._pipeline is not None and self._pipeline.is_waiting(direction)

    def start(self, info: SessionInfo) -> None:
        """Start the plugins: a client has connected."""
        if self._pipeline is not None:
            self._pipeline.start(info)

    def leg_ready(self, leg: Peer, receives: Direction) -> None:
        """Set the codec of a leg whose handshake is complete."""
        encoding = "auto" if reads_witness(leg) else "base"
        network = self._session.settings.network
        self._core.set_codec(receives, Codec(network, leg.core.protocol_version, encoding))
        if self._pipeline is not None:
            self._pipeline.check_handshake()

    def plugins_changed(self) -> None:
        """Use the plugins as they have been reloaded, and the current faults."""
        if self._pipeline is not None:
            session = self._session
            chain = chain_for(self.number, session.settings, session.runtime, self._pipeline.chain)
            self._pipeline.change(chain)

    def forward(self, delivery: Delivery) -> None:
        """Forward a message from one leg to the other, through the plugins."""
        [entry] = delivery.entries
        if self._pipeline is None:
            self._pass(entry.direction, delivery)
        else:
            self._pipeline.offer(entry.direction, delivery)

    def end(self, why: str) -> None:
        """Drop what is held, since nothing can be sent any more, and stop the plugins."""
        if self._pipeline is not None:
            self._pipeline.cut(self._session.runtime.now())
            self._pipeline.end(why)
        self._host.stop()

    # What the pipeline calls.

    def send_on(self, direction: Direction, data: bytes) -> None:
        """Do nothing: messages are framed one by one in `notify_delivered`."""

    def notify_delivered(self, direction: Direction, deliveries: Sequence[Delivery]) -> None:
        """Send what the plugins passed, and report all deliveries."""
        for delivery in deliveries:
            self._pass(direction, delivery)
        self._session.negotiation.look(direction)

    def finish_on(self, direction: Direction) -> None:
        """Do nothing: a leg that closes ends the session."""

    def hold(self, direction: Direction, held: bool) -> None:
        """Stop reading what arrives in a direction, or resume."""
        sender = self._session.leg_to(direction.other)
        if sender is not None and held:
            sender.pause("plugins")
        elif sender is not None:
            sender.resume("plugins")

    def is_full(self, direction: Direction) -> bool:
        """Whether the receiver in a direction reads more slowly than is sent."""
        receiver = self._session.leg_to(direction)
        return receiver is not None and receiver.full

    # One message.

    def _pass(self, direction: Direction, delivery: Delivery) -> None:
        source, target = self._session.leg_to(direction.other), self._session.leg_to(direction)
        [entry] = delivery.entries
        if delivery.sent == b"":  # dropped
            self._session.notify(direction, delivery)
        elif source is None or target is None or source.core.closed or target.core.closed:
            entry = _with_verdict(entry, EntryVerdict.DROP, ("terminate", OTHER_SIDE_GONE))
            self._session.notify(direction, Delivery(delivery.raw, (entry,), b""))
        elif delivery.sent is None:
            self._bridge(entry, source, target)
        else:
            self._session.notify(direction, delivery)
            for command, raw in _frames(self._core, delivery.sent):
                if self._session.negotiation.offer(direction, command, raw) != "":
                    target.forward(command, raw)
            self._pause_if_waiting(source, target)

    def _bridge(self, entry: Entry, source: Peer, target: Peer) -> None:
        """Send a message verbatim, or encoded for a node that reads it differently."""
        message = entry.message
        assert message is not None
        offered = self._session.negotiation.offer(entry.direction, message.command, message.raw)
        if offered is not None:
            if offered:
                entry = _with_verdict(entry, EntryVerdict.DROP, ("terminate", offered))
            delivery = Delivery(message.raw, (entry,), b"" if offered else None)
            self._session.notify(entry.direction, delivery)
            return
        bridged = bridge(message, source, target)
        if not _fits(target, bridged.raw):
            passed = Delivery(message.raw, (entry,))
            self._session.notify(entry.direction, dropped(passed, NOT_EXPRESSIBLE))
            what = f"{entry.command!r} of {entry.length:,} bytes"
            self._session.stop(End(EndCause.NOT_EXPRESSIBLE, entry.direction, what))
            return
        sent = None
        if bridged.verdict != EntryVerdict.PASS:
            entry, sent = _with_verdict(entry, bridged.verdict, bridged.trail), bridged.raw
        self._session.notify(entry.direction, Delivery(message.raw, (entry,), sent))
        if bridged.raw:
            target.forward(message.command, bridged.raw)
            self._pause_if_waiting(source, target)

    def _pause_if_waiting(self, source: Peer, target: Peer) -> None:
        """Pause the source while too much waits for the handshake of the target."""
        if not target.core.ready and target.core.sender.outbox.size > MAX_BEFORE_READY:
            source.pause("waiting")


def _fits(target: Peer, raw: bytes) -> bool:
    """Return whether the connection of a node can carry a frame."""
    # An upstream that is to be encrypted may not have its keys yet.
    encrypts = Transport.V2 in (target.leg_transport.kind, target.config.transport)
    return not encrypts or len(raw) <= MAX_CONTENTS or len(contents_of(raw)) <= MAX_CONTENTS


def _with_verdict(entry: Entry, verdict: str, trail: tuple[str, ...]) -> Entry:
    return msgspec.structs.replace(entry, verdict=verdict, trail=(*entry.trail, *trail))


def _frames(core: Session, sent: bytes) -> list[tuple[str, bytes]]:
    """Split what a plugin sends into messages; junk is sent as it is, with an empty command."""
    framer = Framer(core.network)
    items = [*framer.feed(sent), *framer.close()]
    return [(each.command if isinstance(each, Frame) else "", each.raw) for each in items]  # type: ignore[union-attr]
