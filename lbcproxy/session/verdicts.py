"""Verdicts: what a plugin returns to say what becomes of a message.

A message is never edited in place, so that what was decided can be said of it afterwards: by whom,
and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from lbcproxy.session.direction import Direction
from lbcproxy.session.message import Message
from lbcproxy.wire.record import MessageRecord

__all__ = ["Close", "Delay", "Drop", "Inject", "Raw", "Replace", "Sendable", "Verdict"]


class Raw:
    """Bytes to be sent as they are, malformed on purpose as it may be: a frame, or none."""

    def __init__(self, data: bytes) -> None:
        if not isinstance(data, bytes):
            raise TypeError(f"Raw takes bytes, not {type(data).__name__}")
        self.raw = data

    def __repr__(self) -> str:
        return f"<Raw {len(self.raw)} bytes>"


Sendable: TypeAlias = Message | MessageRecord | Raw
"""What can be put on the wire: a message, a record that is to be framed, or bytes."""


class Verdict:
    """What becomes of a message; None, in place of one, lets it pass."""

    why: str


class Drop(Verdict):
    """Let it not pass; the other side never hears of it."""

    def __init__(self, why: str = "") -> None:
        self.why = _text(why)


class Replace(Verdict):
    """Send something else in its place; several messages are sent in order."""

    def __init__(self, *messages: Sendable, why: str = "") -> None:
        if not messages:
            raise TypeError("Replace without a message: use Drop")
        self.messages = _sendable(messages)
        self.why = _text(why)


class Delay(Verdict):
    """Hold it for some seconds; what comes behind it in its direction waits too."""

    def __init__(self, seconds: float, why: str = "") -> None:
        if not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
            raise TypeError(f"Delay takes seconds, not {seconds!r}")
        self.seconds = float(seconds)
        self.why = _text(why)


class Inject(Verdict):
    """Let it pass, and send something more behind it (or `before` it).

    `direction` is its own unless said otherwise.
    """

    def __init__(
        self,
        *messages: Sendable,
        direction: Direction | None = None,
        before: bool = False,
        why: str = "",
    ) -> None:
        self.messages = _sendable(messages)
        self.direction = direction
        self.before = before
        self.why = _text(why)


class Close(Verdict):
    """Let it pass, then end the session on both sides."""

    def __init__(self, why: str = "") -> None:
        self.why = _text(why)


def _text(why: str) -> str:
    if not isinstance(why, str):
        raise TypeError(f"why is text, not {why!r}")
    return why


def _sendable(messages: Sequence[Sendable]) -> tuple[Sendable, ...]:
    for each in messages:
        if not isinstance(each, Message | MessageRecord | Raw):
            raise TypeError(f"{each!r} cannot be sent: give a message, a record or Raw bytes")
    return tuple(messages)
