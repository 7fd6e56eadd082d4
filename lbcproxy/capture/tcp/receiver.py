"""What one side of a TCP connection has been sent, put in order as its receiver would.

A tap sees what reaches the receiver, and more: strays, repetitions, forged resets. It also misses
some of what the receiver got. So a segment is judged as RFC 9293 (3.10.7.4) and RFC 5961 have a
receiver judge it, and one that no receiver could take is kept apart until later segments show
which of the two it was: a stray, or the stream after packets that the tap has lost.

Offsets count from the first byte of a direction and do not wrap around. Only `Receiver.offset_of`
knows sequence numbers.
"""

from __future__ import annotations

import bisect
from collections import deque

from lbcproxy.capture.packet import Segment
from lbcproxy.capture.tcp.detached import (
    MAX_WINDOW,
    SEGMENT_COST,
    WRAP,
    Detached,
    PendingReset,
)
from lbcproxy.session import UNKNOWN_SIZE

__all__ = ["NO_SCALE", "Receiver", "gap_size"]

NO_SCALE = -1
"""What stands for the window scale of a SYN without that option."""

_MIN_WINDOW = 65_536
_MAX_DETACHED = 4


def gap_size(distance: int) -> int:
    """Return how many bytes are missing between two sequence numbers that far from each other.

    Above half the sequence space, the second number may as well be the lower one.
    """
    return distance if distance < WRAP // 2 else UNKNOWN_SIZE


class Receiver:
    """One direction of a connection.

    Of bytes that come twice and differ, those that came first are kept, in order or waiting.
    """

    __slots__ = (
        "_offsets",
        "_queue",
        "_recent",
        "_recent_size",
        "acked_number",
        "acknowledged",
        "answered",
        "closed",
        "cost",
        "detached",
        "edge",
        "end",
        "first",
        "from_client",
        "grace",
        "next",
        "pending_reset",
        "scale",
        "syn",
        "time_ns",
    )

    def __init__(self, from_client: bool) -> None:
        self.from_client = from_client
        self.syn: int | None = None
        """The sequence number of the sender's SYN."""
        self.scale: int | None = None
        """The window scale in it, or `NO_SCALE`; None while the SYN was not seen."""
        self.time_ns = 0
        """When the last byte before `next` was captured."""
        self.first: int | None = None
        """The sequence number of offset 0."""
        self.next = 0
        """The offset of the byte that is awaited."""
        self.acknowledged = 0
        """The offset up to which the receiver has acknowledged."""
        self.acked_number: int | None = None
        """The sequence number that the receiver acknowledged last, also where `first` is None."""
        self.edge: int | None = None
        """The offset up to which the receiver has had room; None while no window was seen."""
        self.grace: tuple[int, int] | None = None
        """Since when (packets, time) bytes have been missing that the receiver has."""
        self.cost = 0
        """Bytes of memory for what waits."""
        self.end: int | None = None
        """The offset of the FIN."""
        self.pending_reset: PendingReset | None = None
        self.closed = False
        self.detached: list[Detached] = []
        """Segments that fit nowhere, oldest group first."""
        self._offsets: list[int] = []
        self._queue: list[tuple[bytes, int]] = []
        self._recent: deque[tuple[int, bytes]] | None = None  # made when it is needed
        self._recent_size = 0

    @property
    def waits(self) -> bool:
        """Whether something is held that later segments decide on."""
        return self.cost > 0 or self.pending_reset is not None

    @property
    def limit(self) -> int:
        """The offset up to which a receiver could take bytes."""
        base = max(self.next, self.acknowledged)
        if self.edge is None:
            return base + MAX_WINDOW
        return min(max(self.edge, base + _MIN_WINDOW), base + MAX_WINDOW)

    def begin(self, sequence: int) -> None:
        """Take note of the sequence number of the first byte."""
        self.first = sequence % WRAP

    def may_begin_with(self, sequence: int) -> bool:
        """Return whether this may be the number of the first byte, by what was seen so far."""
        if self.first is not None:
            return (self.first - sequence) % WRAP < _MIN_WINDOW
        return self.acked_number is None or (self.acked_number - sequence) % WRAP <= MAX_WINDOW

    def offset_of(self, sequence: int) -> int:
        """Return the offset that a sequence number means: the one nearest to the byte awaited."""
        assert self.first is not None
        half = WRAP // 2
        return self.next + (sequence - self.first - self.next + half) % WRAP - half

    def is_at(self, sequence: int) -> bool:
        """Return whether a number is that of the byte awaited."""
        assert self.first is not None
        return (sequence - self.first - self.next) % WRAP == 0

    def fits(self, sequence: int, length: int) -> bool:
        """Return whether bytes may be of this stream: new ones in the window, or repeated ones."""
        if self.first is None:
            return True
        offset = self.offset_of(sequence)
        if offset + length <= self.next:
            return self.covers(sequence, length)
        if self.closed:  # nothing follows a FIN, which has a number itself
            return offset + length <= self.next + 1
        return -_MIN_WINDOW < offset <= self.limit

    def is_new(self, sequence: int, length: int) -> bool:
        """Return whether a receiver would take a segment, which is not a repetition then."""
        if self.first is None:
            return True
        end = self.offset_of(sequence) + length
        return self.fits(sequence, length) and end >= self.next + bool(length)

    def is_at_end(self, number: int) -> bool:
        """Return whether a number is that after the last byte, or after the FIN."""
        return self.first is not None and self.offset_of(number) - self.next in (0, 1)

    def covers(self, sequence: int, length: int) -> bool:
        """Return whether bytes have all been received before."""
        if self.first is None:
            return False
        offset = self.offset_of(sequence)
        # A keep-alive repeats the last byte of a stream, or stands before its first.
        return max(-1, self.next - MAX_WINDOW) <= offset and offset + length <= self.next

    def is_behind(self, sequence: int, length: int) -> bool:
        """Return whether bytes are from before the first that was seen, by little."""
        if self.first is None:
            return False
        offset = self.offset_of(sequence)
        return self.next - MAX_WINDOW <= offset and offset + length <= self.next

    def is_long_acknowledged(self, sequence: int) -> bool:
        """Return whether a number is far below what was acknowledged, while `first` is unknown."""
        acked = self.acked_number
        return acked is not None and _MIN_WINDOW <= (acked - sequence) % WRAP < WRAP // 2

    @property
    def is_reset_acknowledged(self) -> bool:
        """Whether a reset waits at the byte that the receiver awaits, by what it acknowledged."""
        reset = self.pending_reset
        return reset is not None and reset.offset == self.acknowledged

    def acknowledge(self, number: int, window: int) -> bool:
        """Take an acknowledgment of the receiver's and the room it has, in bytes.

        Numbers that no receiver would send are passed over (RFC 5961, 5). Return whether it is one
        of this stream.
        """
        self.acked_number = number or self.acked_number  # some tools leave it zero
        if self.first is None:
            return False
        offset = self.offset_of(number)
        if self.acknowledged <= offset <= self.limit:
            self.acknowledged = offset
            self.edge = max(self.edge or 0, offset + window)
        return self.acknowledged - _MIN_WINDOW < offset <= self.limit

    def queue(self, offset: int, payload: bytes, time_ns: int) -> bool:
        """Keep bytes from some offset on, those that are new; return whether others differ."""
        differ = False
        if offset < self.next:
            differ = self._differs(offset, payload[: self.next - offset])
            payload, offset = payload[self.next - offset :], self.next
        at = bisect.bisect_right(self._offsets, offset) - 1
        if at < 0 or self._offsets[at] + len(self._queue[at][0]) <= offset:
            at += 1
        while payload:
            if at == len(self._offsets) or self._offsets[at] >= offset + len(payload):
                self._insert(at, offset, payload, time_ns)
                break
            held_at, held = self._offsets[at], self._queue[at][0]
            if held_at > offset:
                self._insert(at, offset, payload[: held_at - offset], time_ns)
                payload, offset = payload[held_at - offset :], held_at
                at += 1
            part = held[offset - held_at : offset - held_at + len(payload)]
            differ = differ or part != payload[: len(part)]
            payload, offset = payload[len(part) :], offset + len(part)
            at += 1
        return differ

    def _insert(self, at: int, offset: int, payload: bytes, time_ns: int) -> None:
        self._offsets.insert(at, offset)
        self._queue.insert(at, (payload, time_ns))
        self.cost += len(payload) + SEGMENT_COST

    def pop(self) -> list[tuple[bytes, int]]:
        """Take out all that is in order now, with when it was captured."""
        awaited, count = self.next, 0
        for offset, (payload, _) in zip(self._offsets, self._queue, strict=True):
            if offset != awaited:
                break
            awaited += len(payload)
            count += 1
        ready = self._queue[:count]
        if count:
            del self._offsets[:count], self._queue[:count]
            self.cost -= awaited - self.next + count * SEGMENT_COST
        return ready

    def deliver(self, payload: bytes, time_ns: int, keep: int) -> None:
        """Count bytes as received; about `keep` of all are kept, to see what is sent again."""
        if self._recent is None:
            self._recent = deque()
        self._recent.append((self.next, payload))
        self._recent_size += len(payload) + SEGMENT_COST
        while self._recent_size > keep:
            self._recent_size -= len(self._recent.popleft()[1]) + SEGMENT_COST
        self.next += len(payload)
        self.time_ns = max(self.time_ns, time_ns)
        self.grace = None

    def repeats(self, offset: int, payload: bytes) -> bool:
        """Take bytes that have all been received before; return whether they differ now.

        A keep-alive has a byte of no meaning (RFC 9293, 3.8.4).
        """
        return not (len(payload) == 1 and offset == self.next - 1) and self._differs(
            offset, payload
        )

    def _differs(self, offset: int, payload: bytes) -> bool:
        """Whether bytes are not those that were received there, as far as these are kept."""
        end = offset + len(payload)
        for at, held in reversed(self._recent or ()):
            low, high = max(at, offset), min(at + len(held), end)
            if low < high and held[low - at : high - at] != payload[low - offset : high - offset]:
                return True
            if at <= offset:
                break
        return False

    def hole_end(self) -> int | None:
        """Return the offset where something is known after missing bytes."""
        return self._offsets[0] if self._offsets else self.end

    def waiting_since(self) -> int | None:
        """Return when the first bytes after missing ones were captured, if there are any."""
        return self._queue[0][1] if self._queue else None

    def group_of(self, sequence: int) -> Detached | None:
        """Return the group of segments that fit nowhere which a sequence number is near."""
        return next((each for each in self.detached if each.is_near(sequence)), None)

    def detach(self, segment: Segment, packets: int, time_ns: int) -> Detached | None:
        """Keep a segment that fits nowhere; return the oldest group if there are too many."""
        group = self.group_of(segment.sequence)
        if group is None:
            group = Detached(segment.sequence, packets, time_ns)
            self.detached.append(group)
        self.cost += group.add(segment, time_ns)
        return self.detached[0] if len(self.detached) > _MAX_DETACHED else None

    def remove(self, group: Detached) -> None:
        """Keep a group of segments no longer."""
        self.detached.remove(group)
        self.cost -= group.cost

    def jump_to(self, group: Detached) -> int:
        """Go on where a group of segments is; return how many bytes are missing, modulo 2**32.

        Nothing may wait in the queue any more.
        """
        assert self.first is not None
        missing = (group.low - self.first - self.next) % WRAP
        self.first = (group.low - self.next) % WRAP
        self.acknowledged = self.next
        self.edge = self.grace = self.pending_reset = None
        self._recent = None
        self._recent_size = 0
        return missing

    def clear(self) -> None:
        """Forget all that waits."""
        self._offsets.clear()
        self._queue.clear()
        self._recent = None
        self._recent_size = self.cost = 0
        self.grace = None
