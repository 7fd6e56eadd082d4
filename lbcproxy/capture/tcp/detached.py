"""Segments that no receiver could take by what is known, and what they may yet prove.

Nothing here decides; `TcpConnection` does.
"""

from __future__ import annotations

from lbcproxy.capture.packet import Segment

__all__ = ["MAX_WINDOW", "SEGMENT_COST", "WRAP", "Detached", "PendingReset"]

WRAP = 1 << 32
MAX_WINDOW = 16 * 2**20
"""Bytes ahead of the one awaited that are believed without evidence, whatever the window."""
SEGMENT_COST = 200
"""What a segment that is held costs beside its bytes: many tiny ones must not escape the bounds."""


class PendingReset:
    """An RST in the window, but not at the byte awaited: RFC 5961 has it answered, not obeyed."""

    __slots__ = ("is_contradicted", "is_early", "offset", "time_ns")

    def __init__(self, offset: int, time_ns: int, *, is_early: bool = False) -> None:
        self.offset = offset
        self.time_ns = time_ns
        self.is_early = is_early
        """Whether it came before the bytes that it follows."""
        self.is_contradicted = False
        """Whether the last new bytes of its side came after it and end before its number."""


class Detached:
    """Segments near each other that do not fit the numbers of their direction."""

    __slots__ = ("_fresh", "cost", "is_acknowledged", "low", "segments", "since", "size", "stays")

    def __init__(self, sequence: int, packets: int, time_ns: int) -> None:
        self.since = (packets, time_ns)
        """When (packets, time) it began, or the stream went on elsewhere since."""
        self.low = sequence
        """The lowest sequence number in it."""
        self.size = 0
        """How many sequence numbers it spans."""
        self.cost = 0
        self.segments: list[tuple[Segment, int]] = []
        """With when they were captured."""
        self.is_acknowledged = False
        """Whether the receiver has acknowledged bytes of it."""
        self.stays = False
        """Whether the sender stays there: several segments say so, the last of all that came."""
        self._fresh = False

    @property
    def first(self) -> Segment:
        """The segment with the lowest sequence number."""
        return next(each for each, _ in self.segments if each.sequence == self.low)

    @property
    def time_ns(self) -> int:
        """When its first bytes were captured."""
        return self.segments[0][1]

    @property
    def is_stale(self) -> bool:
        """Whether the stream went on elsewhere, and nothing came here since."""
        return not self._fresh

    def takes(self, sequence: int) -> bool:
        """Return whether a sequence number is near those of the group."""
        return (sequence - self.low + MAX_WINDOW) % WRAP <= 2 * MAX_WINDOW

    def has(self, number: int) -> bool:
        """Return whether a receiver that acknowledges this number has bytes of the group."""
        return 0 < (number - self.low) % WRAP <= self.size

    def ends_at(self, sequence: int) -> bool:
        """Return whether a number is the next after all of the group, a FIN counted or not."""
        return (sequence - self.low - self.size) % WRAP <= 1

    def sender_is_at(self, sequence: int) -> None:
        """Take note that the sender goes on after this number, as a segment without bytes tells."""
        if sequence == (self.low + self.size) % WRAP and self.size:
            self.stays = self._fresh = True

    def went_elsewhere(self, packets: int, time_ns: int) -> None:
        """Take note that the stream went on where it was."""
        self.since = (packets, time_ns)
        self.stays = self._fresh = False

    def add(self, segment: Segment, time_ns: int) -> int:
        """Take a segment; return what it costs."""
        ahead = (segment.sequence - self.low + MAX_WINDOW) % WRAP - MAX_WINDOW
        if self.segments and segment.sequence != self.segments[0][0].sequence:
            self.stays = True
        if ahead < 0:
            self.low, self.size, ahead = segment.sequence, self.size - ahead, 0
        self.size = max(self.size, ahead + len(segment.payload))
        self.segments.append((segment, time_ns))
        self._fresh = True
        cost = len(segment.payload) + SEGMENT_COST
        self.cost += cost
        return cost
