"""Which segments may be of a TCP connection, by their numbers, and which are of one before it.

Ports are used again, and segments of an earlier connection come late.
"""

from __future__ import annotations

from collections.abc import Iterator

from lbcproxy.capture.dropped import Dropped, DropReason
from lbcproxy.capture.packet import RST, SYN, Segment
from lbcproxy.capture.tcp.delivery import Moment, TcpStreams, is_version
from lbcproxy.capture.tcp.detached import MAX_WINDOW, WRAP
from lbcproxy.endpoint import Endpoint

__all__ = ["TcpIdentity"]

_MAX_EARLIER = 8
"""Connections on the same ports whose late repetitions are recognised."""


class TcpIdentity(TcpStreams):
    """Tells segments of a connection from others between the same addresses and ports."""

    __slots__ = ("previous",)

    def __init__(
        self, number: int, client: Endpoint, server: Endpoint, moment: Moment, dropped: Dropped
    ) -> None:
        super().__init__(number, client, server, moment, dropped)
        self.previous: TcpIdentity | None = None
        """The connection that had the same addresses and ports before."""

    @property
    def is_established(self) -> bool:
        """Whether both sides have accepted it, or one of them has sent bytes."""
        client, server = self.halves
        if client.first is not None and server.first is not None:
            return server.acked_number is not None or client.next > 0 or server.next > 0
        return any(each.next or each.waits for each in self.halves)

    @property
    def is_unanswered(self) -> bool:
        """Whether it is an attempt, and nothing has come back so far."""
        is_attempt = self.halves[0].syn is not None and not self.is_established
        return is_attempt and not self.accepted and not self.over

    def knows(self, segment: Segment) -> bool:
        """Return whether it is known where the stream begins that a segment is of."""
        if self.over:
            return bool(segment.payload) and self.repeats(segment)
        half, other = self.halves_of(segment.source)
        if half.first is None:  # an answer is known by the SYN that it acknowledges
            is_answer = bool(segment.flags & (SYN | RST)) and other.syn is not None
            return is_answer and other.is_at(segment.acknowledgment)
        if half.is_at(segment.sequence):
            return True
        # Out of order, it may also be of the next connection, whose SYN is still to come.
        return self.fits(segment) and (
            not segment.acknowledgment or other.fits(segment.acknowledgment, 0)
        )

    def repeats(self, segment: Segment) -> bool:
        """Return whether all bytes of a segment were received before."""
        half, _ = self.halves_of(segment.source)
        return half.covers(segment.sequence, len(segment.payload))

    def fits(self, segment: Segment) -> bool:
        """Return whether a segment may be of this connection, by its numbers."""
        half, _ = self.halves_of(segment.source)
        return half.fits(segment.sequence, len(segment.payload))

    def is_behind(self, segment: Segment) -> bool:
        """Return whether a segment is from before what was seen of the connection, by little."""
        half, _ = self.halves_of(segment.source)
        return half.is_behind(segment.sequence, len(segment.payload))

    def is_in_flight(self, segment: Segment) -> bool:
        """Return whether new bytes may have been under way when the connection ended."""
        half, _ = self.halves_of(segment.source)
        if half.first is None:
            acked = half.acked_number
            if acked is None or not self._was_reset:
                return False
            return (segment.sequence - acked) % WRAP < MAX_WINDOW
        offset = half.offset_of(segment.sequence)
        # After a FIN nothing can be; what overlaps it is no new conversation, though.
        return 0 <= offset <= (half.limit if self._was_reset else half.next)

    def is_next(self, segment: Segment) -> bool:
        """Return whether a segment after the end is of the next connection; count it if not."""
        if not segment.payload or self.repeats(segment):
            return False
        if self.is_of_an_earlier_one(segment):
            self.drop(DropReason.OLDER_CONNECTION, segment)
        elif is_version(segment.payload):
            return True
        elif self.is_behind(segment):
            self.drop(DropReason.OLDER_CONNECTION, segment)
        elif self.is_in_flight(segment):
            self.drop(DropReason.AFTER_END, segment)
        else:
            return True
        return False

    def had_syn(self, source: Endpoint, sequence: int) -> bool:
        """Return whether a SYN is of this connection after its end, or of the one before it."""
        half, _ = self.halves_of(source)
        if half.syn == sequence:
            return self.over
        return any(each.halves_of(source)[0].syn == sequence for each in self.earlier())

    def is_of_pending(self, segment: Segment) -> bool:
        """Return whether a segment after the end tells that the SYN which waits began another.

        It does not if it may be from before the end: the SYN may be late as well.
        """
        pending = self.pending
        if pending is None or not pending.accepts(segment) or pending.refuses(segment):
            return False
        if pending.server_syn is not None or pending.is_refused_by(segment):
            return True
        return not (self.fits(segment) or self.is_in_flight(segment))

    def earlier(self) -> Iterator[TcpIdentity]:
        """Return the connections that had the same addresses and ports before, the last first."""
        previous = self.previous
        while previous is not None:
            yield previous
            previous = previous.previous

    def is_of_an_earlier_one(self, segment: Segment) -> bool:
        """Return whether a segment is a late one of an earlier connection."""
        if any(each.repeats(segment) for each in self.earlier()):
            return True
        return not is_version(segment.payload) and any(
            each.is_behind(segment) or each.is_in_flight(segment) for each in self.earlier()
        )

    def _is_of_an_ended_one(self, segment: Segment) -> bool:
        """Return whether an answer before the SYN-ACK is from the end of an earlier connection."""
        half, other = self.halves_of(segment.source)
        if half.first is not None or segment.flags & SYN:
            return False
        return any(
            each.halves_of(segment.target)[0].syn != other.syn
            and all(
                one.is_at_end(number)
                for one, number in zip(
                    each.halves_of(segment.source),
                    (segment.sequence, segment.acknowledgment),
                    strict=True,
                )
            )
            for each in self.earlier()
        )

    def succeed(self, previous: TcpIdentity) -> None:
        """Remember the connection before, and some of those before that one."""
        self.previous = previous
        for place, each in enumerate(self.earlier(), 1):
            if place == _MAX_EARLIER:
                each.previous = None
