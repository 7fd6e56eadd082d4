"""The limit on what plugins inject into a direction faster than its receiver reads."""

from __future__ import annotations

from collections.abc import Sequence

from lbcproxy.plugins.delivery_queue import DeliveryQueue, QueuedDelivery

__all__ = ["MAX_BYTES", "MAX_MESSAGES", "InjectionLimit"]

MAX_BYTES = 16 << 20
MAX_MESSAGES = 10_000


class InjectionLimit:
    """Counts what plugins have injected into one direction and the receiver has not read.

    That is what waits in the queue, and what was sent since the receiver last kept up.
    """

    def __init__(self, queue: DeliveryQueue) -> None:
        self._queue = queue
        self._unread_bytes = 0
        self._unread_messages = 0

    def check(self, size: int, messages: int, *, full: bool) -> None:
        """Check whether more can be injected.

        Args:
            size: The bytes to be injected.
            messages: The messages to be injected.
            full: Whether the receiver reads less than is sent.

        Raises:
            OverflowError: It would be more than `MAX_BYTES` or `MAX_MESSAGES`.
        """
        if not full:
            self._unread_bytes = self._unread_messages = 0
        if self._queue.buffered_bytes + self._unread_bytes + size > MAX_BYTES:
            raise OverflowError(f"more is injected than is read: {MAX_BYTES >> 20} MiB wait")
        if self._queue.injected + self._unread_messages + messages > MAX_MESSAGES:
            raise OverflowError(f"more is injected than is read: {MAX_MESSAGES:,} messages wait")

    def sent(self, queued: Sequence[QueuedDelivery], *, full: bool) -> None:
        """Record that injected messages were sent, and whether the receiver is full since."""
        if full:
            self._unread_bytes += sum(each.injected_bytes for each in queued)
            self._unread_messages += sum(each.injected for each in queued)
        else:
            self._unread_bytes = self._unread_messages = 0
