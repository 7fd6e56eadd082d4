"""Decrypts a captured connection whose secret is in a key log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbcproxy.capture.dropped import Dropped, DropReason
from lbcproxy.session import Delivery, Direction, Session
from lbcproxy.transport.curve import PUBLIC_KEY_SIZE
from lbcproxy.transport.events import Broken, PacketReceived, TransportEvent, Unread
from lbcproxy.transport.key_log import LoggedSecret
from lbcproxy.transport.messages import parse_contents

if TYPE_CHECKING:
    from lbcproxy.transport.packets import PacketReader

__all__ = ["Decryption"]


class Decryption:
    """Turns the packets of an encrypted connection into the v1 frames that a session reads.

    It stands between a connection and its session, with the same methods.

    Args:
        session: Reads what is decrypted.
        logged: What the key log says about the connection.
        dropped: Counts what cannot be decrypted.
    """

    def __init__(self, session: Session, logged: LoggedSecret, dropped: Dropped) -> None:
        # These need the libraries for encryption, which most captures do not.
        from lbcproxy.transport.keys import SessionKeys
        from lbcproxy.transport.packets import PacketReader

        keys = SessionKeys.derive(logged.secret, logged.magic)
        self._session = session
        self._magic = logged.magic
        self._dropped = dropped
        self._readers: dict[Direction, PacketReader | None] = {
            Direction.TO_UPSTREAM: PacketReader(keys.initiator, read=PUBLIC_KEY_SIZE),
            Direction.TO_CLIENT: PacketReader(keys.responder, read=PUBLIC_KEY_SIZE),
        }
        self._before_key = dict.fromkeys(Direction, PUBLIC_KEY_SIZE)

    def receive(self, direction: Direction, data: bytes, time_ns: int) -> list[Delivery]:
        """Decrypt bytes of a direction, and return what the session reads in them."""
        skipped = min(len(data), self._before_key[direction])
        self._before_key[direction] -= skipped
        reader = self._readers[direction]
        if reader is None:
            self._dropped.add(DropReason.ENCRYPTED, payload=len(data))
            return []
        return self._read(direction, reader.receive(data[skipped:]), time_ns)

    def gap(self, direction: Direction, missing: int, time_ns: int) -> list[Delivery]:
        """Give a direction up: without the missing bytes nothing after them can be decrypted."""
        self._readers[direction] = None
        return self._session.gap(direction, missing, time_ns)

    def end(self, direction: Direction, time_ns: int) -> list[Delivery]:
        """Return what is incomplete at the end of a direction."""
        reader, deliveries = self._readers[direction], list[Delivery]()
        if reader is not None and not self._before_key[direction]:
            deliveries = self._read(direction, reader.close(), time_ns)
        return deliveries + self._session.end(direction, time_ns)

    def _read(
        self, direction: Direction, events: list[TransportEvent], time_ns: int
    ) -> list[Delivery]:
        session = self._session
        deliveries: list[Delivery] = []
        frames: list[bytes] = []
        for event in events:
            message = parse_contents(event.contents) if isinstance(event, PacketReceived) else None
            if message is not None:
                frames.append(message.frame(self._magic))
                continue
            junk = _junk_of(event)
            if junk is not None:
                deliveries += session.receive(direction, b"".join(frames), time_ns)
                frames.clear()
                deliveries += session.junk(direction, *junk, time_ns)
        if frames:
            deliveries += session.receive(direction, b"".join(frames), time_ns)
        return deliveries


def _junk_of(event: TransportEvent) -> tuple[bytes, str] | None:
    """Return the bytes of an event that is no message, and why; None if it has none."""
    if isinstance(event, Broken):
        return event.rest, f"cannot be decrypted: {event.detail}"
    if isinstance(event, Unread):
        return event.data, "cannot be decrypted, after what could not be"
    if isinstance(event, PacketReceived):
        return event.contents, "a packet without a message type"
    return None
