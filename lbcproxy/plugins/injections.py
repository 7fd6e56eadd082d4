"""The bound of what plugins put into a direction: bytes and messages that its receiver leaves."""

from __future__ import annotations

from collections.abc import Sequence

from lbcproxy.plugins.delivery_queue import Line, Step

__all__ = ["MAX_BYTES", "MAX_MESSAGES", "Injections"]

MAX_BYTES = 16 << 20
MAX_MESSAGES = 10_000


class Injections:
    """What plugins have put into one direction and nobody has read.

    That is what waits in the line, and what was sent since the receiver was last seen to keep up.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._unread_bytes = 0
        self._unread_messages = 0

    def check(self, size: int, messages: int, *, full: bool) -> None:
        """Raise OverflowError if so much more is too much; `full` is whether the receiver is."""
        if not full:
            self._unread_bytes = self._unread_messages = 0
        if self._line.held + self._unread_bytes + size > MAX_BYTES:
            raise OverflowError(f"more is injected than is read: {MAX_BYTES >> 20} MiB wait")
        if self._line.added + self._unread_messages + messages > MAX_MESSAGES:
            raise OverflowError(f"more is injected than is read: {MAX_MESSAGES:,} messages wait")

    def sent(self, steps: Sequence[Step], *, full: bool) -> None:
        """Take note that steps have been sent, after which the receiver is full or is not."""
        if full:
            self._unread_bytes += sum(step.added_size for step in steps)
            self._unread_messages += sum(step.added for step in steps)
        else:
            self._unread_bytes = self._unread_messages = 0
