"""A TCP connection as a tap sees it: which segments its receivers accepted.

Segments are judged by RFC 9293 (3.10.7) and RFC 5961.
"""

from __future__ import annotations

from lbcproxy.capture.dropped import DropReason
from lbcproxy.capture.packet import ACK, FIN, RST, SYN, Segment
from lbcproxy.capture.tcp.delivery import GRACE_NS, is_version
from lbcproxy.capture.tcp.detached import MAX_WINDOW, WRAP, PendingReset
from lbcproxy.capture.tcp.identity import TcpIdentity
from lbcproxy.capture.tcp.pending_syn import FIRST_WINDOW, scale_of
from lbcproxy.capture.tcp.receiver import NO_SCALE, Receiver
from lbcproxy.capture.tcp.stream_events import Data, StreamEvent

__all__ = ["TcpConnection"]

_MAX_SCALE = 14  # RFC 7323; assumed if a SYN was not captured


class TcpConnection(TcpIdentity):
    """Accepts the segments of one connection and turns them into events."""

    __slots__ = ()

    def receive(self, segment: Segment, events: list[StreamEvent]) -> None:
        """Accept a segment; a SYN is the one that started this connection."""
        self.last = self._moment.packets
        half, other = self.halves_of(segment.source)
        flags = segment.flags
        if flags & ACK and not half.next and self._is_late(half, other, segment):
            self.drop(DropReason.OLDER_CONNECTION, segment)
            return
        if half.first is None and other.syn is not None and not self._answers(half, other, segment):
            return
        if flags & ACK and self._acknowledges(half, segment):
            self._acknowledge(half, other, segment)
        if other.waits:
            self.advance(other, events)
        if self.over:
            self._drop_after_end(segment)
            return
        if not self.accepted and not half.from_client and not flags & RST:
            self.accepted = True
        if flags & RST:
            self._take_reset(half, other, segment)
        else:
            self._take(half, other, segment, self._moment.time_ns)
        self.advance(half, events)

    def _drop_after_end(self, segment: Segment) -> None:
        if self.repeats(segment):
            self.drop_missed(DropReason.AFTER_END, segment)
        elif segment.payload:
            self.drop(DropReason.AFTER_END, segment)

    def receive_next(self, segment: Segment) -> list[StreamEvent] | None:
        """Accept a segment if it is exactly the next one (the usual case); otherwise None."""
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
            if not half.next and self._is_late(half, other, segment):
                return None
            self._acknowledge(half, other, segment)
        payload = segment.payload
        if not payload:
            return []
        self.last_ns = moment.time_ns
        half.deliver(payload, moment.time_ns, moment.keep)
        return [Data(self.number, half.from_client, payload, half.time_ns)]

    def _acknowledges(self, half: Receiver, segment: Segment) -> bool:
        """Return whether the other side would use the acknowledgment and window of a segment.

        It ignores those of segments that it does not accept (RFC 9293, 3.10.7.4).
        """
        if segment.flags & (SYN | RST):
            return not segment.flags & RST
        is_new = half.is_new(segment.sequence, len(segment.payload))
        return is_new and not self._is_of_an_ended_one(segment)

    def _is_late(self, half: Receiver, other: Receiver, segment: Segment) -> bool:
        """Return whether a segment belongs to an earlier connection on the same ports.

        The other side of this connection answers it with a reset (RFC 9293, 3.10.7.4).
        """
        if half.syn is None or other.syn is None or segment.flags & (SYN | RST):
            return False
        if not segment.acknowledgment:  # some tools leave it zero
            return False
        if 0 <= other.offset_of(segment.acknowledgment) <= other.limit:
            return False
        return self.is_of_an_earlier_one(segment)

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
            return True  # a simultaneous open (RFC 9293, 3.5)
        if segment.sequence == half.acked_number:
            return True  # the SYN-ACK was not captured, but the other side has it
        if segment.flags & RST:
            self.drop(DropReason.IGNORED_RESET)
        elif segment.payload:
            is_older = self.is_of_an_earlier_one(segment)
            reason = DropReason.OLDER_CONNECTION if is_older else DropReason.OUTSIDE_WINDOW
            self.drop(reason, segment)
        return False

    def _acknowledge(self, half: Receiver, other: Receiver, segment: Segment) -> None:
        """Record what the sender of a segment acknowledges."""
        number, shift = segment.acknowledgment, 0
        if not segment.flags & SYN and NO_SCALE not in (half.scale, other.scale):
            # Windows are scaled only with the option in both SYNs (RFC 7323, 2.2).
            shift = _MAX_SCALE if half.scale is None else half.scale
        is_of_stream = other.acknowledge(number, segment.window << shift)
        for group in other.detached:
            if is_of_stream:
                group.went_elsewhere(self._moment.packets, self._moment.time_ns)
            elif group.has(number):
                group.is_acknowledged = True

    def _take(self, half: Receiver, other: Receiver, segment: Segment, time_ns: int) -> None:
        """Buffer the bytes and the FIN of a segment at their offsets."""
        flags, payload, sequence = segment.flags, segment.payload, segment.sequence
        if flags & SYN:
            half.syn = sequence
            half.scale = scale_of(segment)
            other.edge = segment.window if other.edge is None else other.edge
            sequence += 1
        if half.first is None:
            if not payload and not flags & (SYN | FIN):
                if other.is_recent(segment.acknowledgment):
                    half.sent_number = sequence
                return
            if half.is_long_acknowledged(sequence + len(payload)):
                self.drop(DropReason.OUTSIDE_WINDOW, segment)
                return
            half.begin(sequence if flags & SYN else half.start_of(sequence))
        if not payload and not flags & FIN:
            for group in half.detached:
                group.sender_is_at(sequence, self._moment.packets, self._moment.time_ns)
                if half.offset_of(sequence) in (half.next, half.acknowledged):
                    group.went_elsewhere(self._moment.packets, self._moment.time_ns)
            return
        offset = half.offset_of(sequence)
        if half.covers(sequence, len(payload)) and not (flags & FIN and half.end is None):
            self.drop_missed(DropReason.OUTSIDE_WINDOW, segment)
            if payload and half.repeats(offset, payload):
                self.drop(DropReason.CONFLICT, segment)
        elif not half.fits(sequence, len(payload)):
            self._detach(half, segment)
        else:
            self._take_fitting(half, other, offset, segment, time_ns)

    def _take_fitting(
        self, half: Receiver, other: Receiver, offset: int, segment: Segment, time_ns: int
    ) -> None:
        payload, is_fin = segment.payload, bool(segment.flags & FIN)
        end = offset + len(payload)
        is_news = is_fin and half.end is None and end >= half.next
        if is_news:
            half.end = end
        if half.end is not None and end > half.end:
            self.drop_bytes(DropReason.AFTER_END, end - max(half.end, offset))
            payload = payload[: max(half.end - offset, 0)]
            end = half.end
        if offset < half.next:
            self.drop_missed(DropReason.OUTSIDE_WINDOW, segment)
        if end > half.next and payload:
            cost = half.cost
            differ = half.queue(offset, payload, time_ns)
            if differ:
                self.drop_bytes(DropReason.CONFLICT, differ)
            is_news = is_news or half.cost > cost
        if is_news:
            self._take_news(half, other, end + is_fin, time_ns)

    def _take_news(self, half: Receiver, other: Receiver, end: int, time_ns: int) -> None:
        """Record that a side continues where it was, with something that ends at an offset."""
        self._doubt(half, other, time_ns)
        reset = half.pending_reset
        if reset is not None and end > reset.offset:
            self._disbelieve(half)
        elif reset is not None:
            reset.is_contradicted = end < reset.offset
        for group in half.detached:
            group.went_elsewhere(self._moment.packets, self._moment.time_ns)

    def _detach(self, half: Receiver, segment: Segment) -> None:
        """Keep a segment that does not fit apart, unless it is clear what it is."""
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
        """Handle a reset as its receiver does (RFC 9293, 3.5.3; RFC 5961, 3.2).

        Its payload, if any, is a message of the sender and not part of the stream.
        """
        if half.first is None:
            if not _may_begin(half, other, segment):
                self.drop(DropReason.IGNORED_RESET)
                return
            half.begin(segment.sequence)
        offset = half.offset_of(segment.sequence)
        near = half.group_of(segment.sequence)
        # What the tap saw may not have arrived: the receiver expects what it has not acknowledged.
        limit = half.limit if other.first is not None else half.next
        if half.acknowledged <= offset <= max(limit, half.next + 1):
            is_early = offset > max(half.next + half.closed, half.acknowledged)
            waiting = half.pending_reset
            if waiting is not None and waiting.offset != offset:
                if offset < waiting.offset == half.next:  # it answers an older segment
                    self.drop(DropReason.IGNORED_RESET)
                    return
                self._disbelieve(half)
            if half.pending_reset is None or half.pending_reset.is_early:
                now = self._moment.time_ns
                half.pending_reset = PendingReset(offset, now, is_early=is_early)
        elif near is not None and near.ends_at(segment.sequence):
            moment = self._moment
            half.cost += near.add(segment, moment.packets, moment.time_ns)
        else:
            self.drop(DropReason.IGNORED_RESET)

    def _doubt(self, half: Receiver, other: Receiver, time_ns: int) -> None:
        """Treat new data as proof that a reset was ignored, unless it was in flight."""
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
    """Return whether a reset may be the first segment that is seen of a direction."""
    acked = half.acked_number
    if acked is not None:
        return (segment.sequence - acked) % WRAP <= MAX_WINDOW
    if segment.flags & ACK and other.first is not None:
        # The answer to a SYN acknowledges no more than was sent (RFC 9293, 3.10.7.3).
        most = other.next if other.syn is not None else other.next + FIRST_WINDOW
        return 0 <= other.offset_of(segment.acknowledgment) <= most
    return True
