"""One direction of a TCP connection, put in order as its receiver would.

A tap sees what reaches the receiver, and more: strays, repetitions, forged resets. It also misses
some of what the receiver got. So segments are judged as RFC 9293 (3.10.7.4) and RFC 5961 tell a
receiver to judge them. A segment that no receiver would accept is kept apart until later segments
show what it is: a stray, or the stream after packets that the tap has lost.

Offsets count from the first byte of a direction and do not wrap around. `Receiver.offset_of`
converts sequence numbers to offsets.
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
"""The window scale of a SYN that does not have the option."""

_MIN_WINDOW = 65_536
MAX_SKIPPED = 64
MAX_DETACHED = 4
"""Groups of segments that do not fit; each direction keeps as many."""


def gap_size(distance: int) -> int:
    """Return how many bytes are missing between two sequence numbers with this distance.

    Above half the sequence space the order of the two is ambiguous, so the size is unknown.
    """
    return distance if distance < WRAP // 2 else UNKNOWN_SIZE


class Receiver:
    """One direction of a connection.

    If the same bytes come twice and differ, those that came first are kept.
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
        "sent_number",
        "skipped",
        "syn",
        "time_ns",
    )

    def __init__(self, from_client: bool) -> None:
        self.from_client = from_client
        self.syn: int | None = None
        """The sequence number of the sender's SYN."""
        self.scale: int | None = None
        """The window scale in it, or `NO_SCALE`; None until the SYN is seen."""
        self.time_ns = 0
        """The time when the last byte before `next` was captured."""
        self.first: int | None = None
        """The sequence number of offset 0."""
        self.next = 0
        """The offset of the next expected byte (RCV.NXT)."""
        self.acknowledged = 0
        """The offset up to which the receiver has acknowledged."""
        self.acked_number: int | None = None
        """The sequence number that the receiver acknowledged last, even if `first` is None."""
        self.sent_number: int | None = None
        """The sequence number that the sender was at last, while `first` is None."""
        self.edge: int | None = None
        """The right edge of the receiver's window so far; None until a window is seen."""
        self.grace: tuple[int, int] | None = None
        """When (packets, time) bytes were first missing that the receiver has acknowledged."""
        self.cost = 0
        """Bytes of memory for what is buffered."""
        self.end: int | None = None
        """The offset of the FIN."""
        self.pending_reset: PendingReset | None = None
        self.skipped: list[tuple[int, int]] = []
        """The latest gaps, by their offsets."""
        self.closed = False
        self.detached: list[Detached] = []
        """Segments that do not fit, the oldest group first."""
        self._offsets: list[int] = []
        self._queue: list[tuple[bytes, int]] = []
        self._recent: deque[tuple[int, bytes]] | None = None  # created when needed
        self._recent_size = 0

    @property
    def waits(self) -> bool:
        """Whether something is buffered that depends on later segments."""
        return self.cost > 0 or self.pending_reset is not None

    @property
    def limit(self) -> int:
        """The offset up to which the receiver may accept bytes."""
        base = max(self.next, self.acknowledged)
        if self.edge is None:
            return base + MAX_WINDOW
        return min(max(self.edge, base + _MIN_WINDOW), base + MAX_WINDOW)

    def begin(self, sequence: int) -> None:
        """Record the sequence number of the first byte."""
        self.first = sequence % WRAP

    def may_begin_with(self, sequence: int) -> bool:
        """Return whether the first byte may have this number, given what was seen so far."""
        if self.first is not None:
            return (self.first - sequence) % WRAP < _MIN_WINDOW
        return self.acked_number is None or (self.acked_number - sequence) % WRAP <= MAX_WINDOW

    def offset_of(self, sequence: int) -> int:
        """Return the offset of a sequence number: of all candidates, the one nearest to `next`."""
        assert self.first is not None
        half = WRAP // 2
        return self.next + (sequence - self.first - self.next + half) % WRAP - half

    def is_at(self, sequence: int) -> bool:
        """Return whether a sequence number is that of the next expected byte."""
        assert self.first is not None
        return (sequence - self.first - self.next) % WRAP == 0

    def fits(self, sequence: int, length: int) -> bool:
        """Return whether bytes may belong to this stream: new in the window, or repeated."""
        if self.first is None:
            return True
        offset = self.offset_of(sequence)
        if offset + length <= self.next:
            return self.covers(sequence, length)
        if self.closed:  # nothing follows a FIN, which has a sequence number itself
            return offset + length <= self.next + 1
        return -_MIN_WINDOW < offset <= self.limit

    def is_new(self, sequence: int, length: int) -> bool:
        """Return whether the receiver would accept a segment that is not a repetition."""
        if self.first is None:
            return True
        end = self.offset_of(sequence) + length
        return self.fits(sequence, length) and end >= self.next + bool(length)

    def is_at_end(self, number: int) -> bool:
        """Return whether a sequence number follows the last byte or the FIN."""
        return self.first is not None and self.offset_of(number) - self.next in (0, 1)

    def covers(self, sequence: int, length: int) -> bool:
        """Return whether all bytes have been received before."""
        if self.first is None:
            return False
        offset = self.offset_of(sequence)
        # A keep-alive repeats the last byte of a stream, or has the number before its first.
        return max(-1, self.next - MAX_WINDOW) <= offset and offset + length <= self.next

    def is_behind(self, sequence: int, length: int) -> bool:
        """Return whether bytes come shortly before the next one that is expected."""
        if self.first is None:
            acked = self.acked_number
            return acked is not None and (acked - sequence - length) % WRAP < MAX_WINDOW
        offset = self.offset_of(sequence)
        return self.next - MAX_WINDOW <= offset and offset + length <= self.next

    def is_long_acknowledged(self, sequence: int) -> bool:
        """Return whether a number is far below what was acknowledged, if `first` is unknown."""
        acked = self.acked_number
        return acked is not None and _MIN_WINDOW <= (acked - sequence) % WRAP < WRAP // 2

    def start_of(self, sequence: int) -> int:
        """Return where the stream starts if a segment is the first that has bytes of it.

        That is at the segment, unless the sender was seen to be far from there.
        """
        sent = self.sent_number
        if sent is None or (sequence - sent + _MIN_WINDOW) % WRAP <= _MIN_WINDOW + MAX_WINDOW:
            return sequence
        return sent

    def is_recent(self, number: int) -> bool:
        """Return whether a receiver that acknowledges a number knows what was sent lately."""
        if self.first is None:
            return True
        return self.acknowledged - _MIN_WINDOW < self.offset_of(number) <= self.limit

    @property
    def is_reset_acknowledged(self) -> bool:
        """Whether a reset is pending at the offset that the receiver has acknowledged."""
        reset = self.pending_reset
        return reset is not None and reset.offset == self.acknowledged

    def acknowledge(self, number: int, window: int) -> bool:
        """Record an acknowledgment of the receiver, and its window in bytes.

        Numbers that no receiver would send are ignored (RFC 5961, 5). Return whether the number
        belongs to this stream.
        """
        self.acked_number = number or self.acked_number  # some tools leave it zero
        if self.first is None:
            return False
        offset = self.offset_of(number)
        if self.acknowledged <= offset <= self.limit:
            self.acknowledged = offset
            self.edge = max(self.edge or 0, offset + window)
        return self.is_recent(number)

    @property
    def queued(self) -> list[int]:
        """How many bytes each buffered piece has."""
        return [len(payload) for payload, _ in self._queue]

    def queue(self, offset: int, payload: bytes, time_ns: int) -> int:
        """Buffer the new ones of some bytes; return how many are repeated with other values."""
        differ = 0
        if offset < self.next:
            size = min(self.next - offset, len(payload))
            differ = size * self._differs(offset, payload[:size])
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
            differ += min(len(part), len(payload)) * (part != payload[: len(part)])
            payload, offset = payload[len(part) :], offset + len(part)
            at += 1
        return differ

    def _insert(self, at: int, offset: int, payload: bytes, time_ns: int) -> None:
        self._offsets.insert(at, offset)
        self._queue.insert(at, (payload, time_ns))
        self.cost += len(payload) + SEGMENT_COST

    def pop(self) -> list[tuple[bytes, int]]:
        """Remove and return everything that is in order now, with the times of capture."""
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
        """Count bytes as received; about `keep` bytes are kept to compare repetitions with."""
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
        """Return whether repeated bytes differ from those that were received before.

        A keep-alive may have one arbitrary byte (RFC 9293, 3.8.4).
        """
        return not (len(payload) == 1 and offset == self.next - 1) and self._differs(
            offset, payload
        )

    def _differs(self, offset: int, payload: bytes) -> bool:
        """Return whether bytes differ from those received there, as far as these are kept."""
        end = offset + len(payload)
        for at, held in reversed(self._recent or ()):
            low, high = max(at, offset), min(at + len(held), end)
            if low < high and held[low - at : high - at] != payload[low - offset : high - offset]:
                return True
            if at <= offset:
                break
        return False

    def skip_to(self, offset: int) -> None:
        """Continue at an offset; the bytes before it are missing."""
        self.skipped.append((self.next, offset))
        del self.skipped[:-MAX_SKIPPED]
        self.next = offset
        self.grace = None

    def missed(self, segment: Segment) -> int:
        """Return how many bytes of a segment are in gaps, so that they have not been delivered."""
        if not self.skipped or self.first is None:
            return 0
        offset = self.offset_of(segment.sequence)
        end = offset + len(segment.payload)
        return sum(max(min(end, high) - max(offset, low), 0) for low, high in self.skipped)

    def hole_end(self) -> int | None:
        """Return the offset of the first known byte after missing ones, or of the FIN."""
        return self._offsets[0] if self._offsets else self.end

    def waiting_since(self) -> int | None:
        """Return the time when the first bytes after missing ones were captured, if any."""
        return self._queue[0][1] if self._queue else None

    def group_of(self, sequence: int) -> Detached | None:
        """Return the group of segments that do not fit and are near a sequence number."""
        return next((each for each in self.detached if each.is_near(sequence)), None)

    def detach(self, segment: Segment, packets: int, time_ns: int) -> Detached | None:
        """Keep a segment that does not fit; return the oldest group if there are too many."""
        group = self.group_of(segment.sequence)
        if group is None:
            group = Detached(segment.sequence, packets, time_ns)
            self.detached.append(group)
        self.cost += group.add(segment, packets, time_ns)
        return self.detached[0] if len(self.detached) > MAX_DETACHED else None

    def remove(self, group: Detached) -> None:
        """Remove a group of segments."""
        self.detached.remove(group)
        self.cost -= group.cost

    def jump_to(self, group: Detached) -> int:
        """Continue at a group of segments; return how many bytes are missing, modulo 2**32.

        The queue must be empty.
        """
        assert self.first is not None
        missing = (group.low - self.first - self.next) % WRAP
        self.first = (group.low - self.next) % WRAP
        self.acknowledged = self.next
        self.edge = self.grace = self.pending_reset = None
        self.skipped = [(self.next - min(missing, MAX_WINDOW), self.next)]
        self._recent = None
        self._recent_size = 0
        return missing

    def clear(self) -> None:
        """Discard everything that is buffered."""
        self._offsets.clear()
        self._queue.clear()
        self._recent = None
        self._recent_size = self.cost = 0
        self.grace = None
