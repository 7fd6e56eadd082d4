"""What of a stream can still be recorded when reading it fails: its bytes, unread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from lbcproxy.session.direction import Direction
from lbcproxy.session.entry import Delivery
from lbcproxy.wire.framer import FrameEnd, Framer, StreamItem

if TYPE_CHECKING:
    from lbcproxy.session.session import Session

__all__ = ["SafeReader", "salvaged"]


class SafeReader:
    """Reads for a session. If that fails, by a defect or for lack of memory, bytes pass unread.

    A node must not suffer because we cannot read what it sends, and recording needs no reading.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def receive(self, direction: Direction, data: bytes, time_ns: int) -> list[Delivery]:
        """Do what `Session.receive` does."""
        try:
            return self._session.receive(direction, data, time_ns)
        except Exception as error:
            return self._session.salvage(direction, data, time_ns, error)

    def end(self, direction: Direction, time_ns: int) -> list[Delivery]:
        """Do what `Session.end` does."""
        try:
            return self._session.end(direction, time_ns)
        except Exception as error:
            return self._session.salvage(direction, b"", time_ns, error)

    def release_partial(self, direction: Direction, time_ns: int) -> list[Delivery]:
        """Do what `Session.release_partial` does."""
        try:
            return self._session.release_partial(direction, time_ns)
        except Exception as error:
            return self._session.salvage(direction, b"", time_ns, error)


def salvaged(
    framer: Framer, items: Sequence[StreamItem], data: bytes, expected: int
) -> tuple[list[bytes], int]:
    """Return the bytes of a stream that have not been delivered, and how many more are lost.

    Args:
        framer: The framer of the stream, which gives up its buffer.
        items: What the framer completed and was not delivered.
        data: The bytes whose reading failed. Whether the framer had taken them already shows in
            the number of bytes that there are.
        expected: How many bytes there should be.

    Nothing is copied, because there may be no memory for it.
    """
    found = [each.raw for each in items if not isinstance(each, FrameEnd)]
    found.append(cast("bytes", framer.release()))
    size = sum(map(len, found))
    if size == expected:
        return found, 0
    if size + len(data) == expected:
        return [*found, data], 0
    if size < len(data):
        found, size = [data], len(data)
    return found, max(0, expected - size)
