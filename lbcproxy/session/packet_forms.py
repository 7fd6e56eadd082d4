"""What the events of an encrypted connection say about its messages, live and in captures."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from lbcproxy.session.leg_transport import PacketForm
from lbcproxy.transport.events import (
    Broken,
    DecoyReceived,
    GarbageReceived,
    PacketReceived,
    TransportEvent,
    Unread,
    VersionReceived,
)
from lbcproxy.transport.messages import V2Message, is_usual

__all__ = ["USUAL", "PacketForms", "Unreadable", "junk_of"]

USUAL = PacketForm()

Unreadable: TypeAlias = Broken | Unread | PacketReceived
"""The events that may have bytes that are no message."""


class PacketForms:
    """The forms of the messages of one direction, event by event."""

    def __init__(self) -> None:
        self.pending = USUAL
        """What has come before the next message."""

    def note(self, event: TransportEvent) -> None:
        """Remember what comes before the next message."""
        match event:
            case GarbageReceived():
                self.pending = msgspec.structs.replace(self.pending, garbage=event.size)
            case VersionReceived():
                size = len(event.contents)
                self.pending = msgspec.structs.replace(self.pending, version_size=size)
            case DecoyReceived():
                decoys = self.pending.decoys + 1
                self.pending = msgspec.structs.replace(self.pending, decoys=decoys)

    def take(self, message: V2Message, contents: bytes) -> PacketForm:
        """Return the form of a message that came with these contents; the next one begins anew."""
        form, self.pending = self.pending, USUAL
        if message.short_id is None and not is_usual(contents):
            return msgspec.structs.replace(form, is_long=True)
        return form


def junk_of(event: Unreadable) -> tuple[bytes, str]:
    """Return the bytes of an event that are no message, and why they are not."""
    if isinstance(event, Broken):
        return event.rest, f"cannot be decrypted: {event.detail}"
    if isinstance(event, Unread):
        return event.data, "cannot be decrypted, after what could not be"
    return event.contents, "a packet without a message type"
