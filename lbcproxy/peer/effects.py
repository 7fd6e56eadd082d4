"""What the core of a peer wants done. The shell does it, in order, and nothing else."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from lbcproxy.peer.outbox import RawFrame
from lbcproxy.session import Message
from lbcproxy.wire.record import MessageRecord

__all__ = ["Deliver", "Effect", "End", "Gone", "Note", "Read", "Ready", "Resolve", "Write"]


class Write(msgspec.Struct, frozen=True, gc=False):
    """Send bytes: one frame."""

    raw: bytes
    record: MessageRecord | RawFrame


class Resolve(msgspec.Struct, frozen=True, gc=False):
    """Tell who queued a message what became of it."""

    ticket: int
    sent: bool
    error: Exception | None = None


class Read(msgspec.Struct, frozen=True, gc=False):
    """Tell `on_read`: so many bytes, which are a message, or have something wrong."""

    size: int
    message: Message | None
    error: str | None
    junk: bytes = b""
    """Bytes that are no message."""


class Deliver(msgspec.Struct, frozen=True, gc=False):
    """Call the callbacks of a message; the core is to be told when they are done."""

    message: Message


class Note(msgspec.Struct, frozen=True, gc=False):
    """Log something."""

    level: str
    words: str


class Ready(msgspec.Struct, frozen=True, gc=False):
    """Tell that the handshake is done."""


class End(msgspec.Struct, frozen=True, gc=False):
    """Close the connection, after what was written has been sent."""


class Gone(msgspec.Struct, frozen=True, gc=False):
    """Tell that the connection is gone: the last of all."""


Effect: TypeAlias = Write | Resolve | Read | Deliver | Note | Ready | End | Gone
