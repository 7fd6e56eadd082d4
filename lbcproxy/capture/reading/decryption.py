"""Decrypts a captured connection whose secret is in a key log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbcproxy.capture.dropped import Dropped, DropReason
from lbcproxy.session import Delivery, Direction, LegTransport, Session
from lbcproxy.session.packet_forms import PacketForms, Unreadable, junk_of
from lbcproxy.transport.curve import PUBLIC_KEY_SIZE
from lbcproxy.transport.events import PacketReceived, TransportEvent
from lbcproxy.transport.key_log import LoggedSecret
from lbcproxy.transport.kind import Transport
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
        self.transport = LegTransport(Transport.V2, keys.session_id)
        self._session = session
        self._magic = logged.magic
        self._dropped = dropped
        self._readers: dict[Direction, PacketReader | None] = {
            Direction.TO_UPSTREAM: PacketReader(keys.initiator, read=PUBLIC_KEY_SIZE),
            Direction.TO_CLIENT: PacketReader(keys.responder, read=PUBLIC_KEY_SIZE),
        }
        self._before_key = dict.fromkeys(Direction, PUBLIC_KEY_SIZE)
        self._forms = {direction: PacketForms() for direction in Direction}

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
        frames: list[bytes] = []  # of usual messages, which are read together
        forms = self._forms[direction]
        for event in events:
            if isinstance(event, PacketReceived) and (message := parse_contents(event.contents)):
                frame, form = message.frame(self._magic), forms.take(message, event.contents)
                if not form:
                    frames.append(frame)
                    continue
                deliveries += self._read_frames(direction, frames, time_ns)
                deliveries += session.receive_packet(direction, frame, time_ns, form)
            elif isinstance(event, Unreadable):
                deliveries += self._read_frames(direction, frames, time_ns)
                deliveries += session.junk(direction, *junk_of(event), time_ns)
            else:
                forms.note(event)
        return deliveries + self._read_frames(direction, frames, time_ns)

    def _read_frames(
        self, direction: Direction, frames: list[bytes], time_ns: int
    ) -> list[Delivery]:
        """Return what the session reads in frames that have been collected, and forget them."""
        if not frames:
            return []
        raw = b"".join(frames)
        frames.clear()
        return self._session.receive(direction, raw, time_ns)
