"""A message: a frame one may read.

Nothing is decoded before somebody asks. A message that was not changed keeps its bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, cast

import msgspec

from lbcproxy.session.direction import Direction
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.envelope import HEADER_SIZE, frame
from lbcproxy.wire.errors import BadPayload, FieldError, UnknownCommand
from lbcproxy.wire.partial import Partial
from lbcproxy.wire.record import MessageRecord
from lbcproxy.wire.registry import record_of

__all__ = ["Message"]

HEAD = 256


class Failure(msgspec.Struct, frozen=True):
    """Why a payload could not be read."""

    error: str
    cut_short: bool
    """Whether what is wrong is that it ends too early."""


class _Fields:
    """Where a message keeps what it is made of.

    `Message` refuses to have its attributes set. It is made as one of these, and then becomes a
    `Message`: so neither making one nor reading its attributes costs more than with plain ones.
    """

    __slots__ = (
        "_codec",
        "_failure",
        "_frame_error",
        "_partial",
        "_record",
        "_start",
        "command",
        "direction",
        "length",
        "raw",
    )

    command: str
    direction: Direction
    raw: bytes
    length: int
    _codec: Codec
    _frame_error: str | None
    _record: Any
    """What the payload holds; `_UNREAD` until somebody asks."""
    _failure: Failure
    """Set where it cannot be read."""
    _partial: Partial | None
    """Set where somebody asked what of it can be read."""
    _start: bytes
    """Set of a long message: the beginning of its bytes."""


_UNREAD = object()


class Message(_Fields):
    """One frame in a session, read on demand with the codec its session had agreed on.

    It cannot be changed: `replace` makes another, which a plugin returns as `Replace(...)`. So what
    is recorded of it is what its sender has sent.

    A long frame that nobody asked to read passes in parts; its message has a `length` and the
    beginning of its bytes in `head`, but no `raw`, no `payload` and no `record`.
    """

    __slots__ = ()

    def __new__(
        cls,
        command: str,
        direction: Direction,
        raw: bytes,
        codec: Codec,
        *,
        error: str | None = None,
        length: int | None = None,
    ) -> Self:
        """Make one of a frame."""
        self: Any = _Fields()
        self.command = command
        self.direction = direction
        if length is None:
            self.raw = raw
            self.length = len(raw) - HEADER_SIZE
            self._record = _UNREAD
        else:
            self.raw, self._start = b"", raw[:HEAD]
            self.length = length
            self._record = None
        self._codec = codec
        self._frame_error = error
        self.__class__ = cls
        made: Self = self
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"a message cannot be changed, so its {name} cannot be set: return "
            "Replace(message.replace(...)), or Replace(Raw(...)) for other bytes"
        )

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def __copy__(self) -> Message:
        return self

    def __deepcopy__(self, _: object) -> Message:
        return self

    def __repr__(self) -> str:
        return f"<Message {self.direction.arrow} {self.command} {self.length} bytes>"

    @property
    def head(self) -> bytes:
        """The first 256 bytes of the frame, also of a long one."""
        return self.raw[:HEAD] or getattr(self, "_start", b"")

    @property
    def payload(self) -> bytes:
        """The bytes behind the header."""
        return self.raw[HEADER_SIZE:]

    @property
    def record(self) -> MessageRecord | None:
        """The payload as a record; None if the command has none, or the payload is malformed."""
        record: MessageRecord | None = self._record
        return self._read() if record is _UNREAD else record

    @property
    def partial(self) -> Partial | None:
        """The fields before the one that cannot be read, where there is no record.

        Also of a message that the agreed protocol version does not have. None if none was read.
        """
        if not self.raw or self.record is not None:
            return None
        partial = getattr(self, "_partial", _UNREAD)
        if partial is _UNREAD:
            partial = self._codec.partial(self.command, self.payload)
            _set_partial(self, partial)
        return cast("Partial | None", partial)

    @property
    def error(self) -> str | None:
        """What is wrong with it, and where; None if it is sound, as far as it can be read."""
        failure = self._failed
        return self._frame_error or (None if failure is None else failure.error)

    @property
    def frame_error(self) -> str | None:
        """What is wrong with the frame; the payload is not looked into."""
        return self._frame_error

    @property
    def known_error(self) -> str | None:
        """What is wrong with it as far as is known: the payload counts if somebody has read it."""
        failure = getattr(self, "_failure", None)
        return self._frame_error or (None if failure is None else failure.error)

    @property
    def cut_short(self) -> bool:
        """Whether what is wrong is that the payload ends too early."""
        failure = self._failed
        return failure is not None and failure.cut_short

    @property
    def codec(self) -> Codec:
        """The codec it is read with."""
        return self._codec

    def summary(self) -> str:
        """Say in a few words what it holds, of a long one what its beginning tells.

        Of one that cannot be read to its end, what was read.
        """
        if self.record is not None:
            trailing = len(self.record.trailing)
            words = self.record.summary()
            return f"{words} +{trailing} trailing bytes".lstrip() if trailing else words
        if self.partial is not None:
            return self.partial.summary()
        record = record_of(self.command)
        if record is None or self.raw or self._frame_error is not None:
            return ""
        try:
            words = record.glance(self.head[HEADER_SIZE:], self._codec.params)
        except FieldError:
            words = ""
        return f"{words} (long, not read)".lstrip()

    def to_dict(self) -> dict[str, Any] | None:
        """Give the record's `to_dict`, or None if there is no record."""
        return None if self.record is None else self.record.to_dict()

    def replace(self, **changes: Any) -> Message:
        """Make a message with some fields of its record changed, encoded anew.

        Raises ValueError if there is no record, TypeError for a field it does not have,
        `wire.BadRecord` if the new values cannot be encoded.
        """
        if self.record is None:
            raise ValueError(f"{self!r} cannot be read, so it cannot be changed: {self.error}")
        record = msgspec.structs.replace(self.record, **changes)
        return Message.of(record, self.direction, self._codec)

    @classmethod
    def of(cls, record: MessageRecord, direction: Direction, codec: Codec) -> Message:
        """Frame a record; raises `wire.BadRecord` if it cannot be encoded."""
        raw = frame(codec.network.magic, record.command, codec.encode(record))
        return cls(record.command, direction, raw, codec)

    @property
    def _failed(self) -> Failure | None:
        if self._record is _UNREAD:
            self._read()
        return getattr(self, "_failure", None)

    def _read(self) -> MessageRecord | None:
        """Read the payload, once."""
        record = None
        try:
            record = self._codec.decode(self.command, self.raw[HEADER_SIZE:])
        except UnknownCommand:
            pass  # the framer has said so where it matters
        except BadPayload as error:
            _set_failure(self, Failure(str(error), error.cut_short))
        _set_record(self, record)
        return record


# Past `Message.__setattr__`: what it remembers of having been read.
_set_record: Callable[[Message, object], None] = vars(_Fields)["_record"].__set__
_set_partial: Callable[[Message, Partial | None], None] = vars(_Fields)["_partial"].__set__
_set_failure: Callable[[Message, Failure], None] = vars(_Fields)["_failure"].__set__
