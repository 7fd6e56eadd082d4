"""Entries: messages with when they passed and what became of them."""

from __future__ import annotations

import msgspec

from lbcproxy.session.direction import Direction
from lbcproxy.session.message import Message

__all__ = ["Entry", "Passage"]


class Entry(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One message of a session, or bytes that are none, as captures and sinks get it."""

    number: int
    """Counted from 1 over all sessions of a run or a file."""
    time_ns: int
    """When the read that completed it arrived: nanoseconds since 1970, UTC."""
    session: int
    direction: Direction
    message: Message | None
    """The message; None for bytes that are none."""
    junk: bytes = b""
    """Those bytes."""
    why: str | None = None
    """Why they are no message."""
    continued: bool = False
    """Whether it goes on where junk of the entry before, in this direction, ended."""
    missing: int = 0
    """How many bytes a capture lacks here; such an entry holds nothing."""
    verdict: str = "pass"
    """What happened to it."""
    trail: tuple[str, ...] = ()
    """Who decided what, in order."""

    @property
    def command(self) -> str:
        """The message's command; empty for bytes that are no message."""
        return "" if self.message is None else self.message.command

    @property
    def payload(self) -> bytes:
        """The message's payload; empty for bytes that are no message."""
        return b"" if self.message is None else self.message.payload

    @property
    def raw(self) -> bytes:
        """The bytes as they stood on the wire."""
        return self.junk if self.message is None else self.message.raw

    @property
    def length(self) -> int:
        """Bytes of payload, or of what is no message."""
        return len(self.junk) if self.message is None else self.message.length

    @property
    def error(self) -> str | None:
        """What is wrong, and where; None if nothing is."""
        return self.why if self.message is None else self.message.error


class Passage(msgspec.Struct, frozen=True, gc=False):
    """Bytes that passed, and the entry they complete, if they do."""

    raw: bytes
    """As they came in; empty for what we put in ourselves."""
    entry: Entry | None
    sent: bytes | None = None
    """What went out in their place, where it is not the same; empty for what was held back."""
