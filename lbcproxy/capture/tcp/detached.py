"""Segments that no receiver would accept so far, and what they may still turn out to be.

Nothing is decided here; `TcpConnection` does that.
"""

from __future__ import annotations

from lbcproxy.capture.packet import RST, Segment

__all__ = ["MAX_WINDOW", "SEGMENT_COST", "WRAP", "Detached", "PendingReset"]

WRAP = 1 << 32
MAX_WINDOW = 16 * 2**20
"""Bytes ahead of the next one that are accepted without evidence, whatever the window."""
SEGMENT_COST = 200
"""The memory of a buffered segment besides its bytes: many tiny ones have to be bounded too."""


class PendingReset:
    """An RST in the window but not at the next byte: RFC 5961 requires a challenge ACK."""

    __slots__ = ("is_contradicted", "is_early", "offset", "time_ns")

    def __init__(self, offset: int, time_ns: int, *, is_early: bool = False) -> None:
        self.offset = offset
        self.time_ns = time_ns
        self.is_early = is_early
        """Whether it was captured before the bytes that precede it in the stream."""
        self.is_contradicted = False
        """Whether the last new bytes of its sender came after it and end before its number."""


class Detached:
    """Segments near each other whose sequence numbers do not fit their direction."""

    __slots__ = ("_fresh", "cost", "is_acknowledged", "low", "segments", "since", "size", "stays")

    def __init__(self, sequence: int, packets: int, time_ns: int) -> None:
        self.since = (packets, time_ns)
        """When (packets, time) it started, the sender was seen to continue here, or the stream last
        continued elsewhere."""
        self.low = sequence
        """The lowest sequence number in it."""
        self.size = 0
        """How many sequence numbers it spans."""
        self.cost = 0
        self.segments: list[tuple[Segment, int]] = []
        """Each with the time when it was captured."""
        self.is_acknowledged = False
        """Whether the receiver has acknowledged bytes in it."""
        self.stays = False
        """Whether the sender continues here: several segments show it, including the last one."""
        self._fresh = False

    @property
    def first(self) -> Segment:
        """The segment with the lowest sequence number."""
        return next(each for each, _ in self.segments if each.sequence == self.low)

    @property
    def time_ns(self) -> int:
        """The time when its first bytes were captured."""
        return self.segments[0][1]

    @property
    def is_stale(self) -> bool:
        """Whether the stream continued elsewhere and nothing has come here since."""
        return not self._fresh

    def is_near(self, sequence: int) -> bool:
        """Return whether a sequence number is near those of the group."""
        return (sequence - self.low + MAX_WINDOW) % WRAP <= 2 * MAX_WINDOW

    def has(self, number: int) -> bool:
        """Return whether an acknowledgment of this number covers bytes of the group."""
        return 0 < (number - self.low) % WRAP <= self.size

    def ends_at(self, sequence: int) -> bool:
        """Return whether a number comes directly after the group, with or without a FIN."""
        return (sequence - self.low - self.size) % WRAP <= 1

    def sender_is_at(self, sequence: int, packets: int, time_ns: int) -> None:
        """Record that the sender continues at this number, as a segment without bytes shows."""
        if sequence == (self.low + self.size) % WRAP and self.size:
            self._stay(packets, time_ns)

    def _stay(self, packets: int, time_ns: int) -> None:
        """Record that the sender continues here; the receiver has time to deny it."""
        if not self.stays:
            self.since = (packets, time_ns)
        self.stays = self._fresh = True

    def went_elsewhere(self, packets: int, time_ns: int) -> None:
        """Record that the stream continued outside the group."""
        self.since = (packets, time_ns)
        self.stays = self._fresh = False

    def add(self, segment: Segment, packets: int, time_ns: int) -> int:
        """Add a segment and return the memory that it takes."""
        ahead = (segment.sequence - self.low + MAX_WINDOW) % WRAP - MAX_WINDOW
        is_reset = bool(segment.flags & RST)
        if self.segments and segment.sequence != self.segments[0][0].sequence and not is_reset:
            self._stay(packets, time_ns)
        if ahead < 0:
            self.low, self.size, ahead = segment.sequence, self.size - ahead, 0
        self.size = max(self.size, ahead + len(segment.payload))
        self.segments.append((segment, time_ns))
        self._fresh = True
        cost = len(segment.payload) + SEGMENT_COST
        self.cost += cost
        return cost
