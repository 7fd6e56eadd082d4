"""Decrypts a captured connection whose secret is in a key log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from lbcproxy.capture.dropped import Dropped, DropReason
from lbcproxy.session import Delivery, Direction, LegTransport, PacketForm, Session
from lbcproxy.transport.curve import PUBLIC_KEY_SIZE
from lbcproxy.transport.events import (
    Broken,
    DecoyReceived,
    GarbageReceived,
    PacketReceived,
    TransportEvent,
    Unread,
    VersionReceived,
)
from lbcproxy.transport.key_log import LoggedSecret
from lbcproxy.transport.kind import Transport
from lbcproxy.transport.messages import is_usual, parse_contents

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
        self._forms = dict.fromkeys(Direction, PacketForm())
        """What came before the next message of a direction."""

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
        for event in events:
            message = None
            if isinstance(event, PacketReceived):
                message = self._message(direction, event.contents)
            junk = None if message is not None else _junk_of(event)
            if message is not None:
                frame, form = message
                if not form:
                    frames.append(frame)
                    continue
                deliveries += self._read_frames(direction, frames, time_ns)
                deliveries += session.receive_packet(direction, frame, time_ns, form)
            elif junk is not None:
                deliveries += self._read_frames(direction, frames, time_ns)
                deliveries += session.junk(direction, *junk, time_ns)
            else:
                self._note(direction, event)
        return deliveries + self._read_frames(direction, frames, time_ns)

    def _message(self, direction: Direction, contents: bytes) -> tuple[bytes, PacketForm] | None:
        """Return the frame of the message in a packet and how it came; None if it has none."""
        message = parse_contents(contents)
        if message is None:
            return None
        form, self._forms[direction] = self._forms[direction], PacketForm()
        if message.short_id is None and not is_usual(contents):
            form = replace(form, is_long=True)
        return message.frame(self._magic), form

    def _read_frames(
        self, direction: Direction, frames: list[bytes], time_ns: int
    ) -> list[Delivery]:
        """Return what the session reads in frames that have been collected, and forget them."""
        if not frames:
            return []
        raw = b"".join(frames)
        frames.clear()
        return self._session.receive(direction, raw, time_ns)

    def _note(self, direction: Direction, event: TransportEvent) -> None:
        """Remember what comes before the next message of a direction."""
        form = self._forms[direction]
        if isinstance(event, GarbageReceived):
            form = replace(form, garbage=event.size)
        elif isinstance(event, VersionReceived):
            form = replace(form, version_size=len(event.contents))
        elif isinstance(event, DecoyReceived):
            form = replace(form, decoys=form.decoys + 1)
        self._forms[direction] = form


def _junk_of(event: TransportEvent) -> tuple[bytes, str] | None:
    """Return the bytes of an event that is no message, and why; None if it has none."""
    if isinstance(event, Broken):
        return event.rest, f"cannot be decrypted: {event.detail}"
    if isinstance(event, Unread):
        return event.data, "cannot be decrypted, after what could not be"
    if isinstance(event, PacketReceived):
        return event.contents, "a packet without a message type"
    return None
