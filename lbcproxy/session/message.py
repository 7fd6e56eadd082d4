"""A message: a frame that can be read.

Nothing is decoded before it is used. A message that was not changed keeps its bytes.
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
"""Bytes that are kept of a long message."""


class Failure(msgspec.Struct, frozen=True):
    """Why a payload could not be read."""

    error: str
    cut_short: bool
    """Whether the problem is that it ends too early."""


class _Fields:
    """The attributes of a message.

    `Message` does not allow its attributes to be set. It is made as an instance of this class,
    which then becomes a `Message`: so neither making one nor reading its attributes costs more than
    with an ordinary class.
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
    """What the payload holds; `_UNREAD` until it is used."""
    _failure: Failure
    """Set if it cannot be read."""
    _partial: Partial | None
    """Set if the part that can be read was used."""
    _start: bytes
    """Set for a long message: the beginning of its bytes."""


_UNREAD = object()


class Message(_Fields):
    """One frame of a session, decoded on demand with the codec that the nodes had negotiated.

    It cannot be changed: `replace` makes another, which a plugin returns as `Replace(...)`. So the
    recording always has what the sender sent.

    A long frame that nothing reads passes in parts. Its message has a `length` and the beginning of
    its bytes in `head`, but no `raw`, no `payload` and no `record`.

    Args:
        command: The command, as `ping`.
        direction: Where the message goes.
        raw: The bytes of the frame, or the beginning of a long one.
        codec: Reads the payload.
        error: What is wrong with the frame; None if nothing is.
        length: Only for a long frame that passed in parts: the bytes of its payload.
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
        """Make a message of a frame."""
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
        """The bytes after the header."""
        return self.raw[HEADER_SIZE:]

    @property
    def record(self) -> MessageRecord | None:
        """The payload as a record; None if the command has none, or the payload is malformed."""
        record: MessageRecord | None = self._record
        return self._read() if record is _UNREAD else record

    @property
    def partial(self) -> Partial | None:
        """The fields before the one that cannot be read, if there is no record.

        A message that the negotiated protocol version does not have has one, too. None if no field
        could be read.
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
        """What is wrong with it, and where; None if it is valid, as far as it can be read."""
        failure = self._failed
        return self._frame_error or (None if failure is None else failure.error)

    @property
    def frame_error(self) -> str | None:
        """What is wrong with the frame; the payload is not decoded for this."""
        return self._frame_error

    @property
    def known_error(self) -> str | None:
        """What is known to be wrong with it: the payload counts only if it was decoded before."""
        failure = getattr(self, "_failure", None)
        return self._frame_error or (None if failure is None else failure.error)

    @property
    def cut_short(self) -> bool:
        """Whether the problem is that the payload ends too early."""
        failure = self._failed
        return failure is not None and failure.cut_short

    @property
    def codec(self) -> Codec:
        """The codec that reads it."""
        return self._codec

    def summary(self) -> str:
        """Return in a few words what it holds.

        For a long message this is what its beginning shows; for one that cannot be read to its end,
        what was read.
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
        """Return the record's `to_dict`, or None if there is no record."""
        return None if self.record is None else self.record.to_dict()

    def replace(self, **changes: object) -> Message:
        """Return a message with some fields of the record changed, encoded again.

        Raises:
            ValueError: If there is no record.
            TypeError: If the record does not have such a field.
            BadRecord: If the new values cannot be encoded (`wire.BadRecord`).
        """
        if self.record is None:
            raise ValueError(f"{self!r} cannot be read, so it cannot be changed: {self.error}")
        record = msgspec.structs.replace(self.record, **changes)
        return Message.of(record, self.direction, self._codec)

    @classmethod
    def of(cls, record: MessageRecord, direction: Direction, codec: Codec) -> Message:
        """Return the message of a record.

        Raises:
            BadRecord: If the record cannot be encoded (`wire.BadRecord`).
        """
        raw = frame(codec.network.magic, record.command, codec.encode(record))
        return cls(record.command, direction, raw, codec)

    @property
    def _failed(self) -> Failure | None:
        if self._record is _UNREAD:
            self._read()
        return getattr(self, "_failure", None)

    def _read(self) -> MessageRecord | None:
        """Decode the payload, once."""
        record = None
        try:
            record = self._codec.decode(self.command, self.raw[HEADER_SIZE:])
        except UnknownCommand:
            pass  # the framer reports it if it matters
        except BadPayload as error:
            _set_failure(self, Failure(str(error), error.cut_short))
        _set_record(self, record)
        return record


# These bypass `Message.__setattr__`, to keep what was decoded.
_set_record: Callable[[Message, object], None] = vars(_Fields)["_record"].__set__
_set_partial: Callable[[Message, Partial | None], None] = vars(_Fields)["_partial"].__set__
_set_failure: Callable[[Message, Failure], None] = vars(_Fields)["_failure"].__set__
