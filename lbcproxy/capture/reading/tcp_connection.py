"""A TCP connection as a tap sees it: two directions, and what its packets make known."""

from __future__ import annotations

from collections.abc import Iterator

from lbcproxy.capture.packet import ACK, FIN, RST, SYN, Segment
from lbcproxy.capture.reading.dropped import Dropped, DropReason
from lbcproxy.capture.reading.happening import Closed, Data, Gap, StreamEvent
from lbcproxy.capture.reading.receiver import (
    MAX_WINDOW,
    NO_SCALE,
    WRAP,
    Detached,
    PendingReset,
    Receiver,
    gap_size,
)
from lbcproxy.capture.reading.silent import Silence
from lbcproxy.endpoint import Endpoint

__all__ = ["Moment", "PendingSyn", "TcpConnection", "is_version"]

_GRACE_PACKETS = 256
_GRACE_NS = 1_000_000_000
_INACTIVE_NS = 20 * 60 * 1_000_000_000
"""How long no node is silent: Bitcoin Core ends a connection then (TIMEOUT_INTERVAL)."""
_FIRST_WINDOW = 65_536  # of a connection that was just opened; not scaled
_MAX_EARLIER = 4
"""Connections on the same ports whose late repetitions are recognised."""
_MAX_SCALE = 14  # RFC 7323; assumed where a SYN was not captured
_VERSION = b"version".ljust(12, b"\0")  # after a magic of 4 bytes


def is_version(payload: bytes) -> bool:
    """Return whether bytes begin with the first message of a conversation."""
    return payload[4:16] == _VERSION


class Moment:
    """Where in a capture a reader is; one value for all of its connections."""

    __slots__ = ("keep", "packets", "time_ns")

    def __init__(self) -> None:
        self.packets = 0
        self.time_ns = 0
        self.keep = 0
        """Bytes of each direction that are kept after they were given out."""

    def is_late(self, since: tuple[int, int]) -> bool:
        """Return whether so much came since then that packets are not merely out of order."""
        packets, time_ns = since
        return self.packets - packets > _GRACE_PACKETS or self.time_ns - time_ns > _GRACE_NS


class PendingSyn:
    """A SYN in an open connection: a stray, or the beginning of the next on the same ports."""

    __slots__ = ("client", "client_syn", "scales", "server", "server_syn", "time_ns")

    def __init__(self, client: Endpoint, server: Endpoint, client_syn: int, time_ns: int) -> None:
        self.client = client
        self.server = server
        self.client_syn = client_syn
        self.server_syn: int | None = None
        self.scales: dict[Endpoint, int] = {}
        self.time_ns = time_ns

    def refuses(self, segment: Segment) -> bool:
        """Return whether the client resets what it is said to have begun."""
        return segment.source == self.client and bool(segment.flags & RST)

    def takes(self, segment: Segment) -> bool:
        """Return whether a segment may be the next of the connection that this SYN begins."""
        acknowledgment = segment.acknowledgment if segment.flags & ACK else None
        if segment.source == self.client:
            return _is_soon_after(self.client_syn, segment.sequence) and _is_soon_after(
                self.server_syn, acknowledgment
            )
        return (
            acknowledgment is not None
            and _is_soon_after(self.client_syn, acknowledgment)
            and _is_soon_after(self.server_syn, segment.sequence)
        )


class TcpConnection:
    """Turns the segments of one connection into events; `dropped` counts those it does not take."""

    def __init__(
        self,
        number: int,
        client: Endpoint,
        server: Endpoint,
        moment: Moment,
        dropped: Dropped,
    ) -> None:
        self.number = number
        self.key = (client, server)
        self.halves = (Receiver(True), Receiver(False))
        self.over = False
        self.accepted = False
        """Whether the server has said anything but a reset."""
        self.last = 0
        """Which packet of the capture was its last one."""
        self.last_ns = moment.time_ns
        """When bytes came last."""
        self.pending: PendingSyn | None = None
        self.previous: TcpConnection | None = None
        """The connection that had the same addresses and ports before."""
        self.successor: list[tuple[int, Segment]] = []
        """The segments, with times, of a conversation that began here without a SYN captured."""
        self.counted = 0
        """What its owner has counted as its cost."""
        self._was_reset = False
        self._moment = moment
        self._dropped = dropped

    @property
    def is_established(self) -> bool:
        """Whether both sides have said something, or one of them has sent bytes."""
        return all(each.first is not None for each in self.halves) or any(
            each.next or each.waits for each in self.halves
        )

    @property
    def silence(self) -> Silence | None:
        """How it went, if no byte was sent; None if some were."""
        if any(each.next or each.waits for each in self.halves):
            return None
        if self.accepted:
            return Silence.SILENT
        return Silence.REFUSED if self._was_reset else Silence.UNANSWERED

    @property
    def waits(self) -> bool:
        """Whether something is held that later packets decide on."""
        return not self.over and any(each.waits for each in self.halves)

    @property
    def cost(self) -> int:
        """Bytes of memory for what is held."""
        return self.halves[0].cost + self.halves[1].cost

    def halves_of(self, source: Endpoint) -> tuple[Receiver, Receiver]:
        """Return the direction in which an end sends, then the other."""
        one, other = self.halves
        return (one, other) if source == self.key[0] else (other, one)

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

    def _acknowledges(self, half: Receiver, segment: Segment) -> bool:
        """Return whether the other side would take the acknowledgment of a segment."""
        if segment.flags & (SYN | RST):
            return not segment.flags & RST
        fits = half.fits(segment.sequence, len(segment.payload))
        return fits and not self._is_of_an_ended_one(segment)

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
        for half in previous.halves:
            half.clear()
        for place, each in enumerate(self.earlier(), 1):
            if place == _MAX_EARLIER:
                each.previous = None

    def is_in_flight(self, segment: Segment) -> bool:
        """Return whether new bytes may have been under way when the connection ended."""
        half, _ = self.halves_of(segment.source)
        if half.first is None:
            return False
        offset = half.offset_of(segment.sequence)
        # After a FIN nothing can be; what overlaps it is no new conversation, though.
        return 0 <= offset <= (half.limit if self._was_reset else half.next)

    def drop(self, reason: DropReason, segment: Segment | None = None) -> None:
        """Count a segment that is not given out."""
        self._dropped.add(reason, payload=0 if segment is None else len(segment.payload))

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
        if half.first is None and other.syn is not None and not self._answers(other, segment):
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
        half, other = self.halves if segment.source == self.key[0] else self.halves[::-1]
        if (
            self.over
            or self.pending is not None
            or half.first is None
            or other.first is None
            or half.end is not None
            or half.waits
            or other.waits
            or not self.accepted
            or (segment.sequence - half.first - half.next) % WRAP
        ):
            return None
        moment = self._moment
        self.last = moment.packets
        if segment.flags & ACK:
            self._acknowledge(half, other, segment, True)
        payload = segment.payload
        if not payload:
            return []
        self.last_ns = moment.time_ns
        half.deliver(payload, moment.time_ns, moment.keep)
        return [Data(self.number, half.from_client, payload, half.time_ns)]

    def skip_to(self, segment: Segment, events: list[StreamEvent]) -> None:
        """Give up what is missing before a segment: it is known that it never comes."""
        half, _ = self.halves_of(segment.source)
        if half.first is None or half.closed:
            return
        self._give_up_before(half, half.offset_of(segment.sequence), events)

    def advance(self, half: Receiver, events: list[StreamEvent]) -> None:
        """Give out what is in order now, and what need not wait any longer."""
        self._deliver(half, events)
        while not half.closed and (end := half.hole_end()) is not None:
            if not self._is_lost(half, end):
                break
            self._skip(half, end, events)
            self._deliver(half, events)
        if half.detached and not half.closed:
            self._settle(half, events)
        self._settle_reset(half, events)

    def relieve(self, events: list[StreamEvent]) -> None:
        """Hold nothing that waits for missing bytes any longer."""
        for half in self.halves:
            self._give_up_before(half, None, events)
            for group in list(half.detached):
                if group not in half.detached:
                    continue
                if not half.closed and (group.is_acknowledged or group.stays):
                    self._jump(half, group, events)
                    self._give_up_before(half, None, events)
                else:
                    self._forget(half, group)

    def flush(self, events: list[StreamEvent]) -> None:
        """Give out all that waits: nothing comes any more."""
        self.relieve(events)
        for half in self.halves:
            # One byte more than was sent is a FIN that was not captured.
            if not half.closed and half.acknowledged > half.next + 1:
                self._skip(half, half.acknowledged, events)
        for half in self.halves:
            reset = half.pending_reset
            if reset is None or self.over:
                continue
            if reset.is_contradicted and not half.is_reset_acknowledged:
                self._disbelieve(half)
            else:
                self._reset(half, events)

    def displace(self, events: list[StreamEvent]) -> None:
        """End it, since a new connection has taken its addresses and ports."""
        self.flush(events)
        for half in self.halves:
            if not half.closed and not self.over:
                half.pending_reset = PendingReset(half.next, self._moment.time_ns)
                self._reset(half, events)

    # What a segment says

    def _answers(self, other: Receiver, segment: Segment) -> bool:
        """Return whether the first segment of a side answers the other side's SYN.

        Before its SYN-ACK is seen, late segments of an earlier connection may come.
        """
        if self._is_of_an_ended_one(segment):
            pass
        elif segment.flags & ACK and 0 <= other.offset_of(segment.acknowledgment) <= other.limit:
            return True
        if segment.flags & SYN and not segment.flags & ACK:
            return True  # both have opened it at the same time (RFC 9293, 3.5)
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
            half.scale = NO_SCALE if segment.window_scale is None else segment.window_scale
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
        elif near is not None:
            half.cost += near.add(segment, self._moment.time_ns)
        else:
            self.drop(DropReason.IGNORED_RESET)

    # What that makes known

    def _deliver(self, half: Receiver, events: list[StreamEvent]) -> None:
        """Give out all that is in order now, then the end if it is reached."""
        for payload, time_ns in half.pop():
            half.deliver(payload, time_ns, self._moment.keep)
            events.append(Data(self.number, half.from_client, payload, half.time_ns))
            self.last_ns = max(self.last_ns, half.time_ns)
        if half.end is not None and half.next >= half.end and not half.closed:
            self._close(half, False, self._moment.time_ns, events)

    def _is_lost(self, half: Receiver, hole_end: int) -> bool:
        """Whether missing bytes will not be in the capture any more.

        The receiver has them, so the tap has lost them; unless packets are merely out of order,
        for which there is some grace.
        """
        if half.cost > MAX_WINDOW:
            return True
        if half.acknowledged < hole_end:
            return False
        if half.grace is None:
            half.grace = (self._moment.packets, self._moment.time_ns)
        return self._moment.is_late(half.grace)

    def _skip(self, half: Receiver, offset: int, events: list[StreamEvent]) -> None:
        """Give up the bytes before an offset."""
        time_ns = max(half.time_ns, half.waiting_since() or self._moment.time_ns)
        events.append(Gap(self.number, half.from_client, offset - half.next, time_ns))
        half.next = offset
        half.grace = None

    def _give_up_before(
        self, half: Receiver, offset: int | None, events: list[StreamEvent]
    ) -> None:
        """Skip what is missing before an offset, or before all that waits."""
        self._deliver(half, events)
        while not half.closed:
            end = half.hole_end() if offset is None else offset
            if end is None or end <= half.next:
                return
            first = half.hole_end()
            self._skip(half, end if first is None else min(end, first), events)
            self._deliver(half, events)

    def _settle(self, half: Receiver, events: list[StreamEvent]) -> None:
        """Decide on segments that fitted nowhere, as far as that can be told by now."""
        for group in list(half.detached):
            if half.closed or group not in half.detached:
                return
            if half.fits(group.low, 0) and half.offset_of(group.low) >= half.next:
                self._readmit(half, group, events)
            elif not self._moment.is_late(group.since) and half.cost <= MAX_WINDOW:
                continue
            elif group.is_acknowledged or group.stays:
                self._jump(half, group, events)
            elif group.is_stale or half.cost > MAX_WINDOW:
                self._forget(half, group)

    def _jump(self, half: Receiver, group: Detached, events: list[StreamEvent]) -> None:
        """Go on where a group of segments is: what is between was not captured."""
        if is_version(group.first.payload):
            self._end_before()
            return
        self._give_up_before(half, None, events)
        if half.closed:
            self._forget(half, group)
            return
        if half.pending_reset is not None:
            self._disbelieve(half)
        distance = half.jump_to(group)
        time_ns = max(half.time_ns, group.time_ns)
        events.append(Gap(self.number, half.from_client, gap_size(distance), time_ns))
        self._readmit(half, group, events)

    def _end_before(self) -> None:
        """Set aside what begins another conversation, in both directions."""
        for half in self.halves:
            for each in list(half.detached):
                half.remove(each)
                self.successor += [(time_ns, segment) for segment, time_ns in each.segments]
        self.successor.sort(key=lambda each: each[0])

    def _readmit(self, half: Receiver, group: Detached, events: list[StreamEvent]) -> None:
        """Take segments again that fitted nowhere and do now."""
        half.remove(group)
        other = self.halves[1] if half.from_client else self.halves[0]
        for segment, time_ns in group.segments:
            if segment.flags & RST:
                self._take_reset(half, other, segment)
            else:
                self._take(half, other, segment, time_ns)
        self.advance(half, events)

    def _forget(self, half: Receiver, group: Detached) -> None:
        half.remove(group)
        for segment, _ in group.segments:
            is_reset = segment.flags & RST
            reason = DropReason.IGNORED_RESET if is_reset else DropReason.OUTSIDE_WINDOW
            self.drop(reason, segment)

    def _doubt(self, half: Receiver, other: Receiver, time_ns: int) -> None:
        """Take something new as proof that a reset was not obeyed, unless it was under way."""
        for each in (half, other):
            reset = each.pending_reset
            if reset is not None and time_ns - reset.time_ns > _GRACE_NS:
                self._disbelieve(each)

    def _disbelieve(self, half: Receiver) -> None:
        half.pending_reset = None
        self.drop(DropReason.IGNORED_RESET)

    def _settle_reset(self, half: Receiver, events: list[StreamEvent]) -> None:
        """Believe a reset at the byte that is awaited, or one after which nothing more comes."""
        reset = half.pending_reset
        if reset is None or self.over:
            return
        # After a FIN, which counts as a byte, either number is seen.
        exact = reset.offset in ((half.next, half.next + 1) if half.closed else (half.next,))
        if exact:
            other = self.halves[1] if half.from_client else self.halves[0]
            if other.is_reset_acknowledged:
                self._reset(other, events)  # it came before
            else:
                self._reset(half, events)
            return
        if half.acknowledged > reset.offset + 1:
            self._disbelieve(half)
            return
        now = self._moment.time_ns
        is_late = half.is_reset_acknowledged and now - reset.time_ns > _GRACE_NS
        if is_late or now - max(reset.time_ns, self.last_ns) > _INACTIVE_NS:
            self._reset(half, events)

    def _reset(self, half: Receiver, events: list[StreamEvent]) -> None:
        """End both directions by a reset that waits: nothing comes after it."""
        reset, half.pending_reset = half.pending_reset, None
        assert reset is not None
        self.over = self._was_reset = True
        for each in self.halves:
            self._give_up_before(each, None, events)
            for group in list(each.detached):
                self._forget(each, group)
        if all(each.closed for each in self.halves):
            return  # both had ended in order before
        if not half.closed and reset.offset > half.next:
            self._skip(half, reset.offset, events)
        self._close(half, True, max(reset.time_ns, self.last_ns), events)

    def _close(self, half: Receiver, reset: bool, time_ns: int, events: list[StreamEvent]) -> None:
        half.closed = True
        half.clear()
        events.append(Closed(self.number, half.from_client, reset, time_ns))
        self.over = self.over or all(each.closed for each in self.halves)
        for each in self.halves:
            if self.over and each.pending_reset is not None:
                self._disbelieve(each)


def _may_begin(half: Receiver, other: Receiver, segment: Segment) -> bool:
    """Return whether a reset may be the first that is seen of a direction."""
    if segment.flags & ACK and other.first is not None:
        return 0 <= other.offset_of(segment.acknowledgment) <= other.next + _FIRST_WINDOW
    acked = half.acked_number
    return acked is None or (segment.sequence - acked) % WRAP <= MAX_WINDOW


def _is_soon_after(syn: int | None, number: int | None) -> bool:
    """Return whether a number may be one of the first after a SYN, as far as both are known."""
    return syn is None or number is None or (number - syn - 1) % WRAP < _FIRST_WINDOW
