"""Delivers the streams of a TCP connection: bytes in order, gaps, ends.

`TcpConnection` puts the content of segments into the two directions. The code here passes it on,
and decides about what waits.
"""

from __future__ import annotations

from lbcproxy.capture.dropped import Dropped, DropReason
from lbcproxy.capture.packet import RST, Segment
from lbcproxy.capture.tcp.detached import MAX_WINDOW, Detached, PendingReset
from lbcproxy.capture.tcp.pending_syn import PendingSyn
from lbcproxy.capture.tcp.receiver import Receiver, gap_size
from lbcproxy.capture.tcp.silent import Silence
from lbcproxy.capture.tcp.stream_events import Closed, Data, Gap, StreamEvent
from lbcproxy.endpoint import Endpoint

__all__ = ["GRACE_NS", "Moment", "TcpStreams", "is_version"]

_GRACE_PACKETS = 256
GRACE_NS = 1_000_000_000
"""How long to wait for packets that may be out of order, and for bytes in flight."""
_INACTIVE_NS = 20 * 60 * 1_000_000_000
"""No node is silent for longer: Bitcoin Core disconnects then (TIMEOUT_INTERVAL)."""
_VERSION = b"version".ljust(12, b"\0")  # after a magic of 4 bytes


def is_version(payload: bytes) -> bool:
    """Return whether bytes start with a `version`, the first message of a session."""
    return payload[4:16] == _VERSION


class Moment:
    """The current position in a capture, shared by all of its connections."""

    __slots__ = ("keep", "packets", "time_ns")

    def __init__(self) -> None:
        self.packets = 0
        self.time_ns = 0
        self.keep = 0
        """Bytes of each direction that are kept after they were delivered."""

    def is_late(self, since: tuple[int, int]) -> bool:
        """Return whether too much has come since then for packets to be merely out of order."""
        packets, time_ns = since
        return self.packets - packets > _GRACE_PACKETS or self.time_ns - time_ns > GRACE_NS


class TcpStreams:
    """The two directions of a connection and their delivery.

    `dropped` counts the segments that are not delivered.
    """

    __slots__ = (
        "_dropped",
        "_moment",
        "_was_reset",
        "accepted",
        "counted",
        "displaced",
        "halves",
        "key",
        "last",
        "last_ns",
        "number",
        "over",
        "pending",
        "successor",
    )

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
        self.displaced = False
        """Whether a new connection has taken its addresses and ports."""
        self.accepted = False
        """Whether the server has said anything but a reset."""
        self.last = 0
        """The number of its last packet in the capture."""
        self.last_ns = moment.time_ns
        """The time when bytes came last."""
        self.pending: PendingSyn | None = None
        self.successor: list[tuple[int, Segment]] = []
        """The segments, with times, of a connection that started on its ports without a SYN."""
        self.counted = 0
        """The cost that `OpenConnections` has counted for it."""
        self._was_reset = False
        self._moment = moment
        self._dropped = dropped

    @property
    def silence(self) -> Silence | None:
        """The outcome if no byte was sent; None if bytes were sent."""
        if any(each.next or each.waits for each in self.halves):
            return None
        if self.accepted:
            return Silence.SILENT
        return Silence.REFUSED if self._was_reset else Silence.UNANSWERED

    @property
    def waits(self) -> bool:
        """Whether something is buffered that depends on later packets."""
        return not self.over and any(each.waits for each in self.halves)

    @property
    def cost(self) -> int:
        """Bytes of memory for what is buffered."""
        return self.halves[0].cost + self.halves[1].cost

    def halves_of(self, source: Endpoint) -> tuple[Receiver, Receiver]:
        """Return the direction in which an end sends, and the opposite one."""
        one, other = self.halves
        return (one, other) if source == self.key[0] else (other, one)

    def other_of(self, half: Receiver) -> Receiver:
        """Return the opposite direction."""
        return self.halves[1] if half.from_client else self.halves[0]

    def drop(self, reason: DropReason, segment: Segment | None = None) -> None:
        """Count a segment that is not delivered."""
        self.drop_bytes(reason, 0 if segment is None else len(segment.payload))

    def drop_bytes(self, reason: DropReason, size: int) -> None:
        """Count a segment of which some bytes are not delivered."""
        self._dropped.add(reason, payload=size)

    def drop_missed(self, reason: DropReason, segment: Segment) -> None:
        """Count a segment that comes after its bytes have been given up, if it does."""
        missed = self.halves_of(segment.source)[0].missed(segment)
        if missed:
            self.drop_bytes(reason, missed)

    def skip_to(self, segment: Segment, events: list[StreamEvent]) -> None:
        """Give up what is missing before a segment, because it is known to be lost."""
        half, _ = self.halves_of(segment.source)
        if half.first is None or half.closed:
            return
        self._give_up_before(half, half.offset_of(segment.sequence), events)

    def advance(self, half: Receiver, events: list[StreamEvent]) -> None:
        """Deliver what is in order now, and what need not wait any longer."""
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
        """Stop waiting for missing bytes, to free memory."""
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
        """Deliver everything that waits, because nothing follows."""
        self.relieve(events)
        for half in self.halves:
            # An acknowledgment of one byte more than was sent is for a FIN that was not captured.
            if not half.closed and half.acknowledged > half.next + 1:
                self._skip(half, half.acknowledged, events)
        for half in self.halves:
            reset = half.pending_reset
            if reset is None or self.over:
                continue
            is_reached = half.is_reset_acknowledged or reset.offset == half.next
            if reset.is_contradicted and not is_reached:
                self._disbelieve(half)
            else:
                self._reset(half, events)

    def displace(self, events: list[StreamEvent]) -> None:
        """End the connection because a new one has taken its addresses and ports."""
        self.flush(events)
        self.displaced = not self.over
        for half in self.halves:
            if not half.closed and not self.over:
                half.pending_reset = PendingReset(half.next, self._moment.time_ns)
                self._reset(half, events)

    def _deliver(self, half: Receiver, events: list[StreamEvent]) -> None:
        """Deliver everything that is in order now, then the end if it is reached."""
        for payload, time_ns in half.pop():
            half.deliver(payload, time_ns, self._moment.keep)
            events.append(Data(self.number, half.from_client, payload, half.time_ns))
            self.last_ns = max(self.last_ns, half.time_ns)
        if half.end is not None and half.next >= half.end and not half.closed:
            self._close(half, False, self._moment.time_ns, events)

    def _is_lost(self, half: Receiver, hole_end: int) -> bool:
        """Return whether missing bytes are lost.

        If the receiver has them, the tap has lost them. There is a grace period, since packets may
        merely be out of order.
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
        half.skip_to(offset)

    def _give_up_before(
        self, half: Receiver, offset: int | None, events: list[StreamEvent]
    ) -> None:
        """Skip what is missing before an offset, or before everything that is buffered."""
        self._deliver(half, events)
        while not half.closed:
            end = half.hole_end() if offset is None else offset
            if end is None or end <= half.next:
                return
            first = half.hole_end()
            self._skip(half, end if first is None else min(end, first), events)
            self._deliver(half, events)

    def _settle(self, half: Receiver, events: list[StreamEvent]) -> None:
        """Decide about segments that did not fit, as far as that is possible by now."""
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
        """Continue at a group of segments: what comes before it was not captured."""
        if is_version(group.first.payload):
            self._end_before()
            return
        self._give_up_before(half, None, events)
        if half.closed:
            return
        if half.pending_reset is not None:
            self._disbelieve(half)
        is_start = half.syn is None and not half.next
        distance = half.jump_to(group)
        time_ns = max(half.time_ns, group.time_ns)
        if not is_start:
            events.append(Gap(self.number, half.from_client, gap_size(distance), time_ns))
        self._readmit(half, group, events)

    def _end_before(self) -> None:
        """Set the segments aside that start another connection, in both directions."""
        for half in self.halves:
            for each in list(half.detached):
                half.remove(each)
                self.successor += [(time_ns, segment) for segment, time_ns in each.segments]
        self.successor.sort(key=lambda each: each[0])

    def _readmit(self, half: Receiver, group: Detached, events: list[StreamEvent]) -> None:
        """Process segments again that did not fit before and do now."""
        half.remove(group)
        for segment, time_ns in group.segments:
            self._take_again(half, segment, time_ns)
        self.advance(half, events)

    def _forget(self, half: Receiver, group: Detached) -> None:
        half.remove(group)
        for segment, _ in group.segments:
            is_reset = segment.flags & RST
            reason = DropReason.IGNORED_RESET if is_reset else DropReason.OUTSIDE_WINDOW
            self.drop(reason, segment)

    def _disbelieve(self, half: Receiver) -> None:
        half.pending_reset = None
        self.drop(DropReason.IGNORED_RESET)

    def _settle_reset(self, half: Receiver, events: list[StreamEvent]) -> None:
        """Accept a reset at the next expected byte, or one after which nothing more comes."""
        reset = half.pending_reset
        if reset is None or self.over:
            return
        # After a FIN, which counts as a byte, both numbers occur.
        exact = reset.offset in ((half.next, half.next + 1) if half.closed else (half.next,))
        if half.closed and reset.offset == half.next + 1:
            reset.is_early = False  # it was captured before the FIN, but sent after it
        if exact and not reset.is_early:
            other = self.other_of(half)
            if other.is_reset_acknowledged:
                self._reset(other, events)  # it came before
            else:
                self._reset(half, events)
            return
        if half.acknowledged > reset.offset + 1:
            self._disbelieve(half)
            return
        now = self._moment.time_ns
        is_awaited = half.is_reset_acknowledged and not reset.is_early
        is_late = is_awaited and now - reset.time_ns > GRACE_NS
        if is_late or now - max(reset.time_ns, self.last_ns) > _INACTIVE_NS:
            self._reset(half, events)

    def _reset(self, half: Receiver, events: list[StreamEvent]) -> None:
        """End both directions with a pending reset."""
        reset, half.pending_reset = half.pending_reset, None
        assert reset is not None
        self.over = self._was_reset = True
        for each in self.halves:
            self._give_up_before(each, None, events)
            for group in list(each.detached):
                self._forget(each, group)
        if all(each.closed for each in self.halves):
            return  # both had sent a FIN before
        if not half.closed and reset.offset > half.next:
            self._skip(half, reset.offset, events)
        self._close(half, True, max(reset.time_ns, self.last_ns), events)

    def _close(self, half: Receiver, reset: bool, time_ns: int, events: list[StreamEvent]) -> None:
        half.closed = True
        for group in list(half.detached):
            self._forget(half, group)
        if queued := half.queued:
            self._dropped.add(DropReason.AFTER_END, packets=len(queued), payload=sum(queued))
        half.clear()
        events.append(Closed(self.number, half.from_client, reset, time_ns))
        self.over = self.over or all(each.closed for each in self.halves)
        for each in self.halves:
            if self.over and each.pending_reset is not None:
                self._disbelieve(each)

    def _take_again(self, half: Receiver, segment: Segment, time_ns: int) -> None:
        """Process a segment again that did not fit when it came."""
        raise NotImplementedError
