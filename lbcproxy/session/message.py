"""A message: a frame one may read.

Nothing is decoded before somebody asks. A message that was not changed keeps its bytes.
"""

from __future__ import annotations

from typing import Any

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


class Message:
    """One frame in a session, read on demand with the codec its session had agreed on.

    A long frame that nobody asked to read passes in parts; its message has a `length` and the
    beginning of its bytes in `head`, but no `raw`, no `payload` and no `record`.
    """

    __slots__ = (
        "_codec",
        "_cut_short",
        "_decode_error",
        "_decoded",
        "_frame_error",
        "_partial",
        "_partial_decoded",
        "_record",
        "command",
        "direction",
        "head",
        "length",
        "raw",
    )

    def __init__(
        self,
        command: str,
        direction: Direction,
        raw: bytes,
        codec: Codec,
        *,
        error: str | None = None,
        length: int | None = None,
    ) -> None:
        self.command = command
        self.direction = direction
        self.raw = raw if length is None else b""
        self.head = raw[:HEAD]
        self.length = len(raw) - HEADER_SIZE if length is None else length
        self._codec = codec
        self._frame_error = error
        self._decode_error: str | None = None
        self._cut_short = False
        self._decoded = length is not None
        self._record: MessageRecord | None = None
        self._partial: Partial | None = None
        self._partial_decoded = False

    def __repr__(self) -> str:
        return f"<Message {self.direction.arrow} {self.command} {self.length} bytes>"

    @property
    def payload(self) -> bytes:
        """The bytes behind the header."""
        return self.raw[HEADER_SIZE:]

    @property
    def record(self) -> MessageRecord | None:
        """The payload as a record; None if the command has none, or the payload is malformed."""
        self._decode()
        return self._record

    @property
    def partial(self) -> Partial | None:
        """The fields before the one that cannot be read, where there is no record.

        Also of a message that the agreed protocol version does not have. None if none was read.
        """
        if self.record is None and self.raw and not self._partial_decoded:
            self._partial_decoded = True
            self._partial = self._codec.partial(self.command, self.payload)
        return self._partial

    @property
    def error(self) -> str | None:
        """What is wrong with it, and where; None if it is sound, as far as it can be read."""
        self._decode()
        return self._frame_error or self._decode_error

    @property
    def frame_error(self) -> str | None:
        """What is wrong with the frame; the payload is not looked into."""
        return self._frame_error

    @property
    def cut_short(self) -> bool:
        """Whether what is wrong is that the payload ends too early."""
        self._decode()
        return self._cut_short

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

    def _decode(self) -> None:
        if self._decoded:
            return
        self._decoded = True
        try:
            self._record = self._codec.decode(self.command, self.payload)
        except UnknownCommand:
            pass  # the framer has said so where it matters
        except BadPayload as error:
            self._decode_error, self._cut_short = str(error), error.cut_short
