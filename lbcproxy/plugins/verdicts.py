"""Verdicts: what a plugin returns to say what becomes of a message.

A message is never edited in place, so that what was decided can be said of it afterwards: by whom,
and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, TypeAlias

from lbcproxy.session.direction import Direction
from lbcproxy.session.message import Message
from lbcproxy.wire.record import MessageRecord

__all__ = ["Close", "Delay", "Drop", "Inject", "Raw", "Replace", "Sendable", "Verdict"]


class _Fixed:
    """A value that cannot be changed once it is made: what was decided stays decided."""

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


class Raw(_Fixed):
    """Bytes to be sent as they are, malformed on purpose as it may be: a frame, or none."""

    __slots__ = ("raw",)

    raw: bytes

    def __init__(self, data: bytes) -> None:
        if not isinstance(data, bytes):
            raise TypeError(f"Raw takes bytes, not {type(data).__name__}")
        super().__init__(raw=data)

    def __repr__(self) -> str:
        return f"<Raw {len(self.raw)} bytes>"


Sendable: TypeAlias = Message | MessageRecord | Raw
"""What can be put on the wire: a message, a record that is to be framed, or bytes."""


class Verdict(_Fixed):
    """What becomes of a message; None, in place of one, lets it pass."""

    __slots__ = ("why",)

    why: str


class Drop(Verdict):
    """Let it not pass; the other side never hears of it."""

    __slots__ = ()

    def __init__(self, why: str = "") -> None:
        super().__init__(why=_text(why))


class Replace(Verdict):
    """Send something else in its place; several messages are sent in order."""

    __slots__ = ("messages",)

    messages: tuple[Sendable, ...]

    def __init__(self, *messages: Sendable, why: str = "") -> None:
        if not messages:
            raise TypeError("Replace without a message: use Drop")
        super().__init__(messages=_sendable(messages), why=_text(why))


class Delay(Verdict):
    """Hold it for some seconds; what comes behind it in its direction waits too."""

    __slots__ = ("seconds",)

    seconds: float

    def __init__(self, seconds: float, why: str = "") -> None:
        if not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
            raise TypeError(f"Delay takes seconds, not {seconds!r}")
        super().__init__(seconds=float(seconds), why=_text(why))


class Inject(Verdict):
    """Let it pass, and send something more behind it (or `before` it).

    `direction` is its own unless said otherwise.
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
    """Let it pass, then end the session on both sides."""

    __slots__ = ()

    def __init__(self, why: str = "") -> None:
        super().__init__(why=_text(why))


def _text(why: str) -> str:
    if not isinstance(why, str):
        raise TypeError(f"why is text, not {why!r}")
    return why


def _sendable(messages: Sequence[Sendable]) -> tuple[Sendable, ...]:
    for each in messages:
        if not isinstance(each, Message | MessageRecord | Raw):
            raise TypeError(f"{each!r} cannot be sent: give a message, a record or Raw bytes")
    return tuple(messages)
