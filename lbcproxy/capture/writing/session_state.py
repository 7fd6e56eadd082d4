"""What is known of a session that is open: enough to go on with it in another file."""

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
    UpstreamConnected,
)
from lbcproxy.wire.codec import Codec

__all__ = ["Known", "from_next_message", "without_records"]


class Known:
    """How far a session is; it follows the events that observers handle."""

    __slots__ = ("codec", "connected", "end", "ended", "info", "inside")

    def __init__(self, info: SessionInfo) -> None:
        self.info = info
        self.connected = False
        """Whether the upstream leg is there."""
        self.codec: Codec | None = None
        """What its messages are read with, once that was agreed."""
        self.end: End | None = None
        """Why it ends, once that is known."""
        self.ended: set[Direction] = set()
        self.inside: set[Direction] = set()
        """Where a long message has begun and not ended."""

    @property
    def protocol_version(self) -> int | None:
        """The version that was agreed; None if none was yet."""
        return None if self.codec is None else self.codec.protocol_version

    def copy(self) -> Known:
        """Give another that changes by itself."""
        other = copy.copy(self)
        other.ended, other.inside = set(self.ended), set(self.inside)
        return other

    def follow(self, event: SessionEvent) -> None:
        """Be as the session was after an event."""
        match event:
            case Delivered():
                self.passed(event.direction, event.deliveries)
            case UpstreamConnected():
                self.upstream_connected(event.info)
            case SessionEnding():
                self.end = event.end
            case DirectionClosed():
                self.finished(event.direction)

    def upstream_connected(self, info: SessionInfo) -> None:
        """Record that the upstream leg is connected."""
        self.info, self.connected = info, True

    def passed(self, direction: Direction, deliveries: Sequence[Delivery]) -> None:
        """Take note of whether a message is under way, and with what messages are read."""
        if not deliveries:
            return
        delivery = deliveries[-1]
        if not delivery.entries:
            self.inside.add(direction)
            return
        self.inside.discard(direction)
        if delivery.run is not None:
            self.codec = delivery.run.codec
            return
        last = delivery.entries[-1]
        if last.message is not None and last.command != "version":  # read before it was agreed
            self.codec = last.message.codec

    def finished(self, direction: Direction) -> None:
        """Take note of the end of a direction."""
        self.ended.add(direction)
        self.inside.discard(direction)


def from_next_message(deliveries: Sequence[Delivery]) -> Sequence[Delivery] | None:
    """Give what is behind the end of the message that is under way; None if it does not end."""
    for place, delivery in enumerate(deliveries):
        if delivery.entries:
            return deliveries[place + 1 :]
    return None


def without_records(delivery: Delivery) -> Delivery:
    """Return the same without what was decoded of it, which may be many times as long."""
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
