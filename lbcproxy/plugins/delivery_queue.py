"""What waits in one direction for a decision or for its time, in the order in which it arrived."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from lbcproxy.session.end import End
from lbcproxy.session.entry import Delivery, Entry
from lbcproxy.session.leg_transport import Decoy
from lbcproxy.session.verdict import EntryVerdict

__all__ = ["DeliveryQueue", "QueuedDelivery", "bytes_to_send", "dropped", "not_sent"]


class QueuedDelivery:
    """Deliveries that are sent together, once they are decided and due."""

    __slots__ = (
        "close",
        "deliveries",
        "entry",
        "injected",
        "injected_bytes",
        "is_queued",
        "ready",
        "size",
    )

    def __init__(
        self, deliveries: Sequence[Delivery], entry: Entry | None = None, *, injected: int = 0
    ) -> None:
        self.deliveries = deliveries
        self.entry = entry
        """The message that plugins decide about; None if no plugin asks for it."""
        self.ready = entry is None
        self.close: End | None = None
        """Why the session ends after it, if it does."""
        self.size = _size(deliveries)
        self.is_queued = False
        self.injected = injected
        """How many of its messages plugins have injected."""
        self.injected_bytes = self.size if injected else 0
        """Their bytes."""


class DeliveryQueue:
    """The queue of one direction."""

    def __init__(self) -> None:
        self._queue: deque[QueuedDelivery] = deque()
        self._undecided: deque[QueuedDelivery] = deque()
        self._after_frame: list[QueuedDelivery] = []
        self._in_frame = False
        self.buffered_bytes = 0
        self.injected = 0
        """Messages in the queue that plugins have injected."""
        self.deciding = False
        """Whether plugins are deciding about a message; the next one has to wait."""
        self.ended = False
        """Whether nothing more will arrive."""

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, so that what arrives can be forwarded at once."""
        return not (self._queue or self._after_frame)

    def forwarded(self, deliveries: Sequence[Delivery]) -> None:
        """Record that deliveries were forwarded without waiting."""
        if deliveries:
            self._in_frame = _is_part(deliveries[-1])

    def put(self, queued: QueuedDelivery) -> None:
        """Append what has arrived."""
        self._append(queued)
        # A message that is forwarded in parts ends with an entry; nothing may come between.
        self._in_frame = queued.entry is None and _is_part(queued.deliveries[-1])
        if not self._in_frame:
            self._queue.extend(self._after_frame)
            self._after_frame.clear()

    def inject(self, queued: QueuedDelivery) -> None:
        """Append what a plugin injects: now, or after the message that is being forwarded."""
        if self._in_frame and not self.ended:
            self._after_frame.append(queued)
            self._enter(queued)
        else:
            self._append(queued)

    def replace(
        self,
        queued: QueuedDelivery,
        deliveries: Sequence[Delivery],
        *,
        injected: int,
        injected_bytes: int,
    ) -> None:
        """Set what is sent in place of a message, and how much of it plugins have injected."""
        is_queued = queued.is_queued  # it is not if the queue was cleared while plugins decided
        if is_queued:
            self._leave(queued)
        queued.deliveries, queued.size = deliveries, _size(deliveries)
        queued.injected, queued.injected_bytes = injected, injected_bytes
        if is_queued:
            self._enter(queued)

    def next_undecided(self) -> QueuedDelivery | None:
        """Return the first message that plugins have not decided about, once; None if none is."""
        return self._undecided.popleft() if self._undecided else None

    def pop_ready(self) -> list[QueuedDelivery]:
        """Remove and return what can be sent."""
        ready = []
        while self._queue and self._queue[0].ready:
            queued = self._queue.popleft()
            self._leave(queued)
            ready.append(queued)
        return ready

    def clear(self) -> list[QueuedDelivery]:
        """Remove and return everything."""
        removed = [*self._queue, *self._after_frame]
        self._queue.clear()
        self._undecided.clear()
        self._after_frame.clear()
        for queued in removed:
            self._leave(queued)
        return removed

    def _append(self, queued: QueuedDelivery) -> None:
        self._queue.append(queued)
        if queued.entry is not None:
            self._undecided.append(queued)
        self._enter(queued)

    def _enter(self, queued: QueuedDelivery) -> None:
        queued.is_queued = True
        self.buffered_bytes += queued.size
        self.injected += queued.injected

    def _leave(self, queued: QueuedDelivery) -> None:
        queued.is_queued = False
        self.buffered_bytes -= queued.size
        self.injected -= queued.injected


def _is_part(delivery: Delivery) -> bool:
    """Whether more of a message follows; a decoy has no entry either, and no bytes."""
    return not delivery.entries and bool(delivery.raw)


def _size(deliveries: Sequence[Delivery]) -> int:
    decoys = sum(each.packet.size for each in deliveries if isinstance(each.packet, Decoy))
    return decoys + sum(max(len(each.raw), len(each.sent or b"")) for each in deliveries)


def bytes_to_send(deliveries: Sequence[Delivery]) -> bytes:
    """Return the bytes that are sent for deliveries to a leg that is not encrypted."""
    parts = [each.raw if each.sent is None else each.sent for each in deliveries]
    return parts[0] if len(parts) == 1 else b"".join(parts)


def not_sent(delivery: Delivery) -> Delivery:
    """Return a delivery that was still queued when the session broke off, as dropped."""
    return dropped(delivery, "the session broke off")


def dropped(delivery: Delivery, trail: str) -> Delivery:
    """Return a delivery that is not sent, and why."""
    entries = tuple(
        msgspec.structs.replace(each, verdict=EntryVerdict.DROP, trail=(*each.trail, trail))
        for each in delivery.entries
    )
    return Delivery(delivery.raw, entries, b"", unread=delivery.unread)
