"""The state of an open session: enough to continue it in another file."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import msgspec

from lbcproxy.session import Delivery, Direction, End, Message, SessionInfo
from lbcproxy.session.events import (
    Delivered,
    DirectionClosed,
    SessionEnding,
    SessionEvent,
    TransportsAgreed,
    UpstreamConnected,
)
from lbcproxy.wire.codec import Codec

__all__ = ["SessionState", "from_next_message", "last_with_bytes", "without_records"]


class SessionState:
    """How far a session has got. It follows the events that observers handle."""

    __slots__ = ("codec", "connected", "end", "ended", "has_transports", "info", "inside")

    def __init__(self, info: SessionInfo) -> None:
        self.info = info
        self.connected = False
        """Whether the upstream leg is connected."""
        self.has_transports = False
        """Whether the transports of its legs are known, and not both v1."""
        self.codec: Codec | None = None
        """How its messages are decoded, once a version is negotiated."""
        self.end: End | None = None
        """Why it ends, once that is known."""
        self.ended: set[Direction] = set()
        """The directions that are closed."""
        self.inside: set[Direction] = set()
        """The directions with an incomplete long message."""

    @property
    def protocol_version(self) -> int | None:
        """The negotiated version; None until there is one."""
        return None if self.codec is None else self.codec.protocol_version

    def copy(self) -> SessionState:
        """Return an independent copy."""
        other = copy.copy(self)
        other.ended, other.inside = set(self.ended), set(self.inside)
        return other

    def follow(self, event: SessionEvent) -> None:
        """Update the state by an event."""
        match event:
            case Delivered():
                self.deliver(event.direction, event.deliveries)
            case UpstreamConnected():
                self.upstream_connected(event.info)
            case TransportsAgreed():
                self.transports_agreed(event.info)
            case SessionEnding():
                self.end = event.end
            case DirectionClosed():
                self.close_direction(event.direction)

    def upstream_connected(self, info: SessionInfo) -> None:
        """Record that the upstream leg is connected."""
        self.info, self.connected = info, True

    def transports_agreed(self, info: SessionInfo) -> None:
        """Record the transports of both legs."""
        self.info, self.has_transports = info, bool(info.transports)

    def deliver(self, direction: Direction, deliveries: Sequence[Delivery]) -> None:
        """Record whether a message is incomplete, and how messages are decoded."""
        delivery = last_with_bytes(deliveries)
        if delivery is None:
            return
        if not delivery.entries:
            self.inside.add(direction)
            return
        self.inside.discard(direction)
        if delivery.run is not None:
            self.codec = delivery.run.codec
            return
        last = delivery.entries[-1]
        if last.message is not None and last.command != "version":  # that one comes before it
            self.codec = last.message.codec

    def close_direction(self, direction: Direction) -> None:
        """Record that a direction is closed."""
        self.ended.add(direction)
        self.inside.discard(direction)


def last_with_bytes(deliveries: Sequence[Delivery]) -> Delivery | None:
    """Return the last delivery that is not a decoy, which is no part of a message."""
    for each in reversed(deliveries):  # usually the first is the one
        if each.raw or each.entries:
            return each
    return None


def from_next_message(deliveries: Sequence[Delivery]) -> Sequence[Delivery] | None:
    """Return what follows the end of the incomplete message; None if it does not end."""
    for index, delivery in enumerate(deliveries):
        if delivery.entries:
            return deliveries[index + 1 :]
    return None


def without_records(delivery: Delivery) -> Delivery:
    """Return a delivery without its decoded records, which may be many times as large."""
    if delivery.run is not None:
        run = delivery.run.unread()
        return Delivery(delivery.raw, run, run=run)
    if not delivery.entries or delivery.entries[0].message is None:
        return delivery
    message = delivery.entries[0].message
    fresh = Message(
        message.command,
        message.direction,
        message.raw or message.head,
        message.codec,
        error=message.frame_error,
        length=None if message.raw else message.length,
    )
    entry = msgspec.structs.replace(delivery.entries[0], message=fresh)
    return Delivery(delivery.raw, (entry,), delivery.sent)
