"""A TCP connection as a tap sees it: which of its segments its receivers took.

Segments are judged by RFC 9293 (3.10.7) and RFC 5961.
"""

from __future__ import annotations

from collections.abc import Iterator

from lbcproxy.capture.dropped import Dropped, DropReason
from lbcproxy.capture.packet import ACK, FIN, RST, SYN, Segment
from lbcproxy.capture.tcp.delivery import GRACE_NS, Moment, TcpStreams, is_version
from lbcproxy.capture.tcp.detached import MAX_WINDOW, WRAP, PendingReset
from lbcproxy.capture.tcp.pending_syn import FIRST_WINDOW, scale_of
from lbcproxy.capture.tcp.receiver import NO_SCALE, Receiver
from lbcproxy.capture.tcp.stream_events import Data, StreamEvent
from lbcproxy.endpoint import Endpoint

__all__ = ["TcpConnection"]

_MAX_EARLIER = 4
"""Connections on the same ports whose late repetitions are recognised."""
_MAX_SCALE = 14  # RFC 7323; assumed where a SYN was not captured


class TcpConnection(TcpStreams):
    """Takes the segments of one connection, which events are made of."""

    __slots__ = ("previous",)

    def __init__(
        self, number: int, client: Endpoint, server: Endpoint, moment: Moment, dropped: Dropped
    ) -> None:
        super().__init__(number, client, server, moment, dropped)
        self.previous: TcpConnection | None = None
        """The connection that had the same addresses and ports before."""

    @property
    def is_established(self) -> bool:
        """Whether both sides have said something, or one of them has sent bytes."""
        return all(each.first is not None for each in self.halves) or any(
            each.next or each.waits for each in self.halves
        )

    def knows(self, segment: Segment) -> bool:
        """Return whether it is known where the stream begins that a segment is of."""
        if self.over:
            return bool(segment.payload) and self.repeats(segment)
        half, other = self.halves_of(segment.source)
        if half.first is None:  # a SYN-ACK is known by the SYN that it acknowledges
            is_syn = bool(segment.flags & SYN) and other.syn is not None
            return is_syn and other.is_at(segment.acknowledgment)
        return half.is_at(segment.sequence) or self.fits(segment)

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
            return False
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
        if self.over and half.syn == sequence:
            return True
        return any(each.halves_of(source)[0].syn == sequence for each in self.earlier())

    def earlier(self) -> Iterator[TcpConnection]:
        """Return the connections that had the same addresses and ports before, the last first."""
        previous = self.previous
        while previous is not None:
            yield previous
            previous = previous.previous

    def is_of_an_earlier_one(self, segment: Segment) -> bool:
        """Return whether a segment repeats bytes of an earlier connection."""
        return any(each.repeats(segment) for each in self.earlier())

    def _is_of_an_ended_one(self, segment: Segment) -> bool:
        """Return whether an answer before the SYN-ACK is from the end of an earlier connection."""
        half, _ = self.halves_of(segment.source)
        if half.first is not None or segment.flags & SYN:
            return False
        return any(
            all(
                one.is_at_end(number)
                for one, number in zip(
                    each.halves_of(segment.source),
                    (segment.sequence, segment.acknowledgment),
                    strict=True,
                )
            )
            for each in self.earlier()
        )

    def succeed(self, previous: TcpConnection) -> None:
        """Remember the connection before, and some of those before that one."""
        self.previous = previous
        for place, each in enumerate(self.earlier(), 1):
            if place == _MAX_EARLIER:
                each.previous = None

    def receive(self, segment: Segment, events: list[StreamEvent]) -> None:
        """Take a segment; one with a SYN is of this connection's beginning."""
        self.last = self._moment.packets
        half, other = self.halves_of(segment.source)
        flags = segment.flags
        if flags & ACK and self._acknowledges(half, segment):
            is_taken = half.is_new(segment.sequence, len(segment.payload))
            self._acknowledge(half, other, segment, is_taken)
        if other.waits:
            self.advance(other, events)
        if self.over:
            return
        if half.first is None and other.syn is not None and not self._answers(half, other, segment):
            return
        if not self.accepted and not half.from_client and not flags & RST:
            self.accepted = True
        if flags & RST:
            self._take_reset(half, other, segment)
        else:
            self._take(half, other, segment, self._moment.time_ns)
        self.advance(half, events)

    def receive_next(self, segment: Segment) -> list[StreamEvent] | None:
        """Take a segment that is just what comes next, if it is one: the usual case, quickly."""
        half, other = self.halves_of(segment.source)
        if (
            self.over
            or self.pending is not None
            or half.first is None
            or other.first is None
            or half.end is not None
            or half.cost
            or other.cost
            or half.pending_reset is not None
            or other.pending_reset is not None
            or not self.accepted
            or (segment.sequence - half.first - half.next) % WRAP
        ):
            return None
        moment = self._moment
        self.last = moment.packets
        if segment.flags & ACK and segment.acknowledgment != other.acked_number:
            self._acknowledge(half, other, segment, True)
        payload = segment.payload
        if not payload:
            return []
        self.last_ns = moment.time_ns
        half.deliver(payload, moment.time_ns, moment.keep)
        return [Data(self.number, half.from_client, payload, half.time_ns)]

    def _acknowledges(self, half: Receiver, segment: Segment) -> bool:
        """Return whether the other side would take the acknowledgment of a segment."""
        if segment.flags & (SYN | RST):
            return not segment.flags & RST
        fits = half.fits(segment.sequence, len(segment.payload))
        return fits and not self._is_of_an_ended_one(segment)

    def _answers(self, half: Receiver, other: Receiver, segment: Segment) -> bool:
        """Return whether the first segment of a side answers the other side's SYN.

        Before its SYN-ACK is seen, late segments of an earlier connection may come.
        """
        if (
            segment.flags & ACK
            and 0 <= other.offset_of(segment.acknowledgment) <= other.limit
            and not self._is_of_an_ended_one(segment)
        ):
            return True
        if segment.flags & SYN and not segment.flags & ACK:
            return True  # both have opened it at the same time (RFC 9293, 3.5)
        if segment.sequence == half.acked_number:
            return True  # the SYN-ACK was not captured, but the other side has it
        if segment.flags & RST:
            self.drop(DropReason.IGNORED_RESET)
        elif segment.payload:
            is_older = self.is_of_an_earlier_one(segment)
            reason = DropReason.OLDER_CONNECTION if is_older else DropReason.OUTSIDE_WINDOW
            self.drop(reason, segment)
        return False

    def _acknowledge(
        self, half: Receiver, other: Receiver, segment: Segment, is_taken: bool
    ) -> None:
        """Take note of what the sender of a segment says it has received."""
        number, shift = segment.acknowledgment, 0
        if not segment.flags & SYN and NO_SCALE not in (half.scale, other.scale):
            # Windows are scaled only with the option in both SYNs (RFC 7323, 2.2).
            shift = _MAX_SCALE if half.scale is None else half.scale
        # The window of a segment that no receiver takes says nothing (RFC 9293, 3.10.7.4).
        other.acknowledge(number, segment.window << shift if is_taken else 0)
        for group in other.detached:
            group.is_acknowledged = group.is_acknowledged or group.has(number)

    def _take(self, half: Receiver, other: Receiver, segment: Segment, time_ns: int) -> None:
        """Put the bytes of a segment, and its end of the stream, where they belong."""
        flags, payload, sequence = segment.flags, segment.payload, segment.sequence
        if flags & SYN:
            half.syn = sequence
            half.scale = scale_of(segment)
            other.edge = segment.window if other.edge is None else other.edge
            sequence += 1
        if half.first is None:
            if not payload and not flags & (SYN | FIN):
                return
            if half.is_long_acknowledged(sequence + len(payload)):
                self.drop(DropReason.OUTSIDE_WINDOW, segment)
                return
            half.begin(sequence)
        if not payload and not flags & FIN:
            for group in half.detached:
                group.sender_is_at(sequence)
                if half.offset_of(sequence) == half.next:
                    group.went_elsewhere(self._moment.packets, self._moment.time_ns)
            return
        offset = half.offset_of(sequence)
        if half.covers(sequence, len(payload)) and not (flags & FIN and half.end is None):
            if payload and half.repeats(offset, payload):
                self.drop(DropReason.CONFLICT, segment)
        elif not half.fits(sequence, len(payload)):
            self._detach(half, segment)
        else:
            self._take_fitting(half, other, offset, segment, time_ns)

    def _take_fitting(
        self, half: Receiver, other: Receiver, offset: int, segment: Segment, time_ns: int
    ) -> None:
        payload = segment.payload
        end = offset + len(payload)
        self._doubt(half, other, time_ns)
        if segment.flags & FIN and half.end is None and end >= half.next:
            half.end = end
        if half.end is not None and end > half.end:
            self.drop(DropReason.AFTER_END, segment)
            payload = payload[: max(half.end - offset, 0)]
            end = half.end
        if end <= half.next or not payload:
            return
        if half.pending_reset is not None and end > half.pending_reset.offset:
            self._disbelieve(half)
        for group in half.detached:
            group.went_elsewhere(self._moment.packets, self._moment.time_ns)
        if half.pending_reset is not None:
            half.pending_reset.is_contradicted = end < half.pending_reset.offset
        if half.queue(offset, payload, time_ns):
            self.drop(DropReason.CONFLICT, segment)

    def _detach(self, half: Receiver, segment: Segment) -> None:
        """Keep a segment apart that fits nowhere, unless it is known what it is."""
        if self.is_of_an_earlier_one(segment):
            self.drop(DropReason.OLDER_CONNECTION, segment)
        elif half.closed:
            self.drop(DropReason.AFTER_END, segment)
        elif (
            half.is_behind(segment.sequence, len(segment.payload))
            and half.group_of(segment.sequence) is None
            and not is_version(segment.payload)
        ):
            self.drop(DropReason.OUTSIDE_WINDOW, segment)
        else:
            moment = self._moment
            oldest = half.detach(segment, moment.packets, moment.time_ns)
            if oldest is not None:
                self._forget(half, oldest)

    def _take_reset(self, half: Receiver, other: Receiver, segment: Segment) -> None:
        """Take a reset as its receiver does (RFC 9293, 3.5.3; RFC 5961, 3.2).

        Its payload, if any, is a remark of the sender's and no part of the stream.
        """
        if half.first is None:
            if not _may_begin(half, other, segment):
                self.drop(DropReason.IGNORED_RESET)
                return
            half.begin(segment.sequence)
        offset = half.offset_of(segment.sequence)
        near = half.group_of(segment.sequence)
        # What the tap saw may not have arrived: the receiver awaits what it has not acknowledged.
        limit = half.limit if other.first is not None else half.next
        if offset == half.acknowledged or half.next <= offset <= max(limit, half.next + 1):
            waiting = half.pending_reset
            if waiting is not None and waiting.offset != offset:
                self._disbelieve(half)
            half.pending_reset = half.pending_reset or PendingReset(offset, self._moment.time_ns)
        elif near is not None and near.ends_at(segment.sequence):
            half.cost += near.add(segment, self._moment.time_ns)
        else:
            self.drop(DropReason.IGNORED_RESET)

    def _doubt(self, half: Receiver, other: Receiver, time_ns: int) -> None:
        """Take something new as proof that a reset was not obeyed, unless it was under way."""
        for each in (half, other):
            reset = each.pending_reset
            if reset is not None and time_ns - reset.time_ns > GRACE_NS:
                self._disbelieve(each)

    def _take_again(self, half: Receiver, segment: Segment, time_ns: int) -> None:
        other = self.other_of(half)
        if segment.flags & RST:
            self._take_reset(half, other, segment)
        else:
            self._take(half, other, segment, time_ns)


def _may_begin(half: Receiver, other: Receiver, segment: Segment) -> bool:
    """Return whether a reset may be the first that is seen of a direction."""
    if segment.flags & ACK and other.first is not None:
        return 0 <= other.offset_of(segment.acknowledgment) <= other.next + FIRST_WINDOW
    acked = half.acked_number
    return acked is None or (segment.sequence - acked) % WRAP <= MAX_WINDOW
