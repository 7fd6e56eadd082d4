"""What a tap recorded of a connection of the model."""

from __future__ import annotations

from lbcproxy.capture.packet import ACK, FIN, RST, SYN, Segment
from tests.capture.tcp_network import Passed
from tests.capture.tcp_truth import SECOND, Connection, signed

MOST_WAIT_NS = SECOND
"""A SYN that comes so long after other segments of its connection is a late repetition."""


class Facts:
    """What a tap recorded of a connection."""

    def __init__(self, connection: Connection, from_middle: bool) -> None:
        self.connection, self.from_middle = connection, from_middle
        self.seen = tuple(bytearray(len(each)) for each in connection.sent)
        """Which bytes were recorded, and neither late nor after an RST."""
        self.any_bytes = [False, False]
        self.starts: tuple[set[int], set[int]] = (set(), set())
        """Where recorded segments begin: where reading may begin if the SYN was not recorded."""
        self.acknowledged = [0, 0]
        self.first_ns: int | None = None
        self.syn = [False, False]
        self.late_syn = False
        """Whether a SYN was recorded that came long after: it tells where the streams begin."""
        self.fin = [False, False]
        self.news = [-1, -1]
        """When each side last sent something new, in packets."""
        self.highest = [0, 0]
        self.reset = False
        self.reset_by: set[int] = set()
        self.opposed = False
        """Whether something else may have been open between the addresses at its beginning."""
        self.early = False
        """Whether its SYN was recorded before that of an earlier connection."""
        self.undecided = False
        self.overtaken = False
        """Whether the next connection between the addresses was answered before."""

    def take(self, at: int, each: Passed) -> None:
        """Note a recorded segment of this connection."""
        segment, side, connection = each.segment, each.side, self.connection
        if self.first_ns is None:
            self.first_ns = each.time_ns
        is_first = not any(self.starts) or any(self.syn) or not self.from_middle
        if segment.flags & SYN and is_first and each.time_ns - self.first_ns < MOST_WAIT_NS:
            self.syn[side] = True
        elif segment.flags & SYN:
            self.late_syn = True
        if segment.flags & RST:
            self.reset = True
            self.reset_by.add(side)
            return
        initial = connection.initial[1 - side]
        if segment.flags & ACK and initial is not None:
            place = signed(segment.acknowledgment - initial - 1)
            if place <= len(connection.sent[1 - side]) + 1:
                self.acknowledged[1 - side] = max(place, self.acknowledged[1 - side])
        if segment.payload or segment.flags & FIN:
            self._take_data(at, segment, side)

    def _take_data(self, at: int, segment: Segment, side: int) -> None:
        place = self.connection.place_of(side, segment.sequence)
        end = place + len(segment.payload)
        if segment.flags & FIN:
            if not self.fin[side]:
                self.news[side] = at
            self.fin[side] = True
        if end > self.highest[side]:
            self.highest[side], self.news[side] = end, at
        if segment.flags & FIN:
            self.starts[side].add(max(place, 0))
        if place < 0 or not segment.payload:
            return  # a keep-alive
        self.any_bytes[side] = True
        self.starts[side].add(place)
        first = max(place, self.acknowledged[side])
        if first < end and not self.reset and not self.overtaken:
            self.seen[side][first:end] = b"\1" * (end - first)
