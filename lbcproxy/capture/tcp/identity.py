"""Which segments may belong to a TCP connection, and which to an earlier one on the same ports.

Ports are reused, and segments of an earlier connection may come late.
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
    """Distinguishes the segments of a connection from others on the same addresses and ports."""

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
    def is_answered(self) -> bool:
        """Whether a SYN, which was captured, has been accepted."""
        return self.is_established or (self.accepted and self.halves[0].scale is not None)

    @property
    def is_unanswered(self) -> bool:
        """Whether it is an attempt to which nothing has come back so far."""
        is_attempt = self.halves[0].syn is not None and not self.is_established
        return is_attempt and not self.accepted and not self.over

    def knows(self, segment: Segment) -> bool:
        """Return whether the start of a segment's stream is known."""
        if self.over:
            return bool(segment.payload) and self.repeats(segment)
        half, other = self.halves_of(segment.source)
        if self.pending is not None and self.pending.is_accepted_by(segment):
            return True
        if half.first is None:  # an answer acknowledges the SYN
            is_answer = bool(segment.flags & (SYN | RST)) and other.syn is not None
            return is_answer and other.is_at(segment.acknowledgment)
        if half.is_at(segment.sequence):
            return True
        if self.is_unanswered:  # the client cannot send more than a SYN, so it is of the next one
            return False
        # If it is out of order, it may belong to the next connection, whose SYN is yet to come.
        return self.fits(segment) and (
            not segment.acknowledgment or other.fits(segment.acknowledgment, 0)
        )

    def repeats(self, segment: Segment) -> bool:
        """Return whether all bytes of a segment were received before."""
        half, _ = self.halves_of(segment.source)
        return half.covers(segment.sequence, len(segment.payload))

    def fits(self, segment: Segment) -> bool:
        """Return whether a segment may belong to this connection, by its sequence numbers."""
        half, _ = self.halves_of(segment.source)
        return half.fits(segment.sequence, len(segment.payload))

    def is_behind(self, segment: Segment) -> bool:
        """Return whether a segment comes shortly before what was seen of the connection."""
        half, _ = self.halves_of(segment.source)
        return half.is_behind(segment.sequence, len(segment.payload))

    def is_in_flight(self, segment: Segment) -> bool:
        """Return whether new bytes may have been in flight when the connection ended."""
        half, _ = self.halves_of(segment.source)
        if half.first is None:
            acked = half.acked_number
            if acked is None or not self._was_reset:
                return False
            return (segment.sequence - acked) % WRAP < MAX_WINDOW
        offset = half.offset_of(segment.sequence)
        # After a FIN nothing is; but what overlaps it does not start a new connection.
        return 0 <= offset <= (half.limit if self._was_reset else half.next)

    def is_next(self, segment: Segment) -> bool:
        """Return whether a segment after the end is of the next connection; count it if not."""
        if not segment.payload:
            return False
        if self.repeats(segment):
            self.drop_missed(DropReason.AFTER_END, segment)
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
        """Return whether a SYN belongs to this connection after its end, or to an earlier one."""
        half, _ = self.halves_of(source)
        if half.syn == sequence:
            return self.over
        return any(each.halves_of(source)[0].syn == sequence for each in self.earlier())

    def had_unanswered_syn(self, source: Endpoint, sequence: int) -> bool:
        """Return whether a SYN was that of an attempt which ended before the server accepted it.

        If the server does so later, then what ended it was forged, or captured out of order.
        """
        for each in (self, *self.earlier()):
            half, other = each.halves_of(source)
            if each.over and half.syn == sequence:
                is_unanswered = other.syn is None and other.acked_number is None and not half.next
                return is_unanswered and (each is self or each.displaced or other.first is not None)
        return False

    def is_of_pending(self, segment: Segment) -> bool:
        """Return whether a segment after the end shows that the pending SYN started a connection.

        A segment that may be from before the end does not show it: the SYN may be late as well.
        """
        pending = self.pending
        if pending is None or not pending.accepts(segment) or pending.refuses(segment):
            return False
        if pending.server_syn is not None or pending.is_refused_by(segment):
            return True
        return not (self.fits(segment) or self.is_in_flight(segment))

    def earlier(self) -> Iterator[TcpIdentity]:
        """Return earlier connections with the same addresses and ports, the latest first."""
        previous = self.previous
        while previous is not None:
            yield previous
            previous = previous.previous

    def is_of_an_earlier_one(self, segment: Segment) -> bool:
        """Return whether a segment is a late one of an earlier connection on the same ports."""
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
        """Remember the previous connection, and some of those before it."""
        self.previous = previous
        for count, each in enumerate(self.earlier(), 1):
            if count == _MAX_EARLIER:
                each.previous = None
