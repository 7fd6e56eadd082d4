"""Messages on their way out: in order, bounded, each with somebody who may want to know."""

from __future__ import annotations

from collections import deque

import msgspec

from lbcproxy.wire.record import MessageRecord

__all__ = ["Outbox", "Queued", "RawFrame"]


class RawFrame(msgspec.Struct, frozen=True, gc=False):
    """A frame that is passed on as it is, in place of a record."""

    command: str

    def summary(self) -> str:
        """Say that nothing is known of it."""
        return "as it came"


class Queued(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A message that waits to be sent."""

    record: MessageRecord | RawFrame
    witness: bool
    """Whether transactions go out in the witness encoding."""
    ticket: int | None
    """By which the shell finds who wants to know; None if nobody does."""
    raw: bytes
    """The frame; empty while the version to encode it for is not agreed."""


class Outbox:
    """A first-in first-out queue that knows how much waits."""

    def __init__(self) -> None:
        self._queue: deque[Queued] = deque()
        self.size = 0
        """Bytes of the frames that wait; what is not encoded yet counts a little."""

    @property
    def memory(self) -> int:
        """Bytes of memory all that takes, about: a small message is mostly Python's objects."""
        return self.size + A_MESSAGE * len(self._queue)

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, queued: Queued) -> None:
        """Take a message in."""
        self._queue.append(queued)
        self.size += _size(queued)

    def take(self) -> Queued | None:
        """Give the next message."""
        if not self._queue:
            return None
        queued = self._queue.popleft()
        self.size -= _size(queued)
        return queued

    def clear(self) -> list[Queued]:
        """Give up all that waits."""
        dropped = list(self._queue)
        self._queue.clear()
        self.size = 0
        return dropped


UNENCODED = 1024
A_MESSAGE = 450
"""Measured with `tracemalloc`: a queued ping with its Deferred takes 454 bytes, 32 of them wire."""


def _size(queued: Queued) -> int:
    return len(queued.raw) or UNENCODED
