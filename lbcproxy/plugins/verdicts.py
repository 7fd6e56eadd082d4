"""Verdicts: what a hook returns to decide what happens to a message.

A message is never edited in place, so a capture can record which plugin decided what,
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, TypeAlias

from lbcproxy.session.direction import Direction
from lbcproxy.session.message import Message
from lbcproxy.wire.record import MessageRecord

__all__ = ["Close", "Delay", "Drop", "Inject", "Raw", "Replace", "Sendable", "Verdict"]


class _Immutable:
    """A value that cannot be changed: a decision is final."""

    __slots__ = ()

    def __init__(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"a {type(self).__name__} cannot be changed, so its {name} cannot be set: make another"
        )

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self


class Raw(_Immutable):
    """Bytes that are sent as they are; they need not be a valid frame.

    Args:
        data: The bytes.
    """

    __slots__ = ("raw",)

    raw: bytes

    def __init__(self, data: bytes) -> None:
        if not isinstance(data, bytes):
            raise TypeError(f"Raw takes bytes, not {type(data).__name__}")
        super().__init__(raw=data)

    def __repr__(self) -> str:
        return f"<Raw {len(self.raw)} bytes>"


Sendable: TypeAlias = Message | MessageRecord | Raw
"""What can be sent: a message, a record, which is framed, or bytes."""


class Verdict(_Immutable):
    """What happens to a message. A hook that returns None lets it pass."""

    __slots__ = ("why",)

    why: str


class Drop(Verdict):
    """Do not send the message.

    Args:
        why: The reason, for the capture and the log line.
    """

    __slots__ = ()

    def __init__(self, why: str = "") -> None:
        super().__init__(why=_text(why))


class Replace(Verdict):
    """Send something else in its place.

    Args:
        messages: What is sent, in this order: messages, records or `Raw` bytes.
        why: The reason, for the capture and the log line.
    """

    __slots__ = ("messages",)

    messages: tuple[Sendable, ...]

    def __init__(self, *messages: Sendable, why: str = "") -> None:
        if not messages:
            raise TypeError("Replace without a message: use Drop")
        super().__init__(messages=_sendable(messages), why=_text(why))


class Delay(Verdict):
    """Send the message later; what follows it in its direction waits too.

    Args:
        seconds: The delay, 0 or more.
        why: The reason, for the capture and the log line.
    """

    __slots__ = ("seconds",)

    seconds: float

    def __init__(self, seconds: float, why: str = "") -> None:
        if not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
            raise TypeError(f"Delay takes seconds, not {seconds!r}")
        super().__init__(seconds=float(seconds), why=_text(why))


class Inject(Verdict):
    """Let the message pass, and send more.

    Args:
        messages: What is sent, in this order: messages, records or `Raw` bytes.
        direction: The direction; by default that of the message.
        before: Send it before the message instead of after it.
        why: The reason, for the capture and the log line.
    """

    __slots__ = ("before", "direction", "messages")

    messages: tuple[Sendable, ...]
    direction: Direction | None
    before: bool

    def __init__(
        self,
        *messages: Sendable,
        direction: Direction | None = None,
        before: bool = False,
        why: str = "",
    ) -> None:
        super().__init__(
            messages=_sendable(messages), direction=direction, before=before, why=_text(why)
        )


class Close(Verdict):
    """Let the message pass, then close the session on both sides.

    Args:
        why: The reason, for the capture and the log line.
    """

    __slots__ = ()

    def __init__(self, why: str = "") -> None:
        super().__init__(why=_text(why))


def _text(why: str) -> str:
    if not isinstance(why, str):
        raise TypeError(f"why is a string, not {why!r}")
    return why


def _sendable(messages: Sequence[Sendable]) -> tuple[Sendable, ...]:
    for each in messages:
        if not isinstance(each, Message | MessageRecord | Raw):
            raise TypeError(f"{each!r} cannot be sent: use a message, a record or Raw bytes")
    return tuple(messages)
