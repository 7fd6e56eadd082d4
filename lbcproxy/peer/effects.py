"""The effects of a peer's core: what it wants done. The shell performs them in order."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from lbcproxy.session import Message
from lbcproxy.wire.record import MessageRecord

__all__ = [
    "Deliver",
    "Disconnect",
    "Disconnected",
    "Effect",
    "Log",
    "RawFrame",
    "Read",
    "Ready",
    "Resolve",
    "Write",
]


class RawFrame(msgspec.Struct, frozen=True, gc=False):
    """A frame that is sent as it is. It takes the place of a record."""

    command: str

    def summary(self) -> str:
        """Return a summary for the log: the payload is not decoded."""
        return "as it came"


class Write(msgspec.Struct, frozen=True, gc=False):
    """Send one frame."""

    raw: bytes
    record: MessageRecord | RawFrame


class Resolve(msgspec.Struct, frozen=True, gc=False):
    """Fire the Deferred of a queued message."""

    ticket: int
    """The number under which the shell keeps the Deferred."""
    sent: bool
    error: Exception | None = None


class Read(msgspec.Struct, frozen=True, gc=False):
    """Call `on_read`: these bytes are a message, or are malformed."""

    size: int
    """In bytes, as received."""
    message: Message | None
    error: str | None
    junk: bytes = b""
    """The bytes, if they are not a message."""


class Deliver(msgspec.Struct, frozen=True, gc=False):
    """Call the callbacks of a message, then `PeerCore.delivered`."""

    message: Message


class Log(msgspec.Struct, frozen=True, gc=False):
    """Write a log entry."""

    level: str
    text: str


class Ready(msgspec.Struct, frozen=True, gc=False):
    """The handshake is complete."""


class Disconnect(msgspec.Struct, frozen=True, gc=False):
    """Close the connection once everything written before has been sent."""


class Disconnected(msgspec.Struct, frozen=True, gc=False):
    """The connection is gone. This is the last effect."""


Effect: TypeAlias = Write | Resolve | Read | Deliver | Log | Ready | Disconnect | Disconnected
