"""What the segments of a TCP connection make known: bytes in order, gaps, ends.

`TcpConnection` puts into the two directions what its segments say. Here that is given out, and what
waits is decided on.
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
"""How long packets are waited for that may only be out of order, and bytes that are under way."""
_INACTIVE_NS = 20 * 60 * 1_000_000_000
"""How long no node is silent: Bitcoin Core ends a connection then (TIMEOUT_INTERVAL)."""
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
        return self.packets - packets > _GRACE_PACKETS or self.time_ns - time_ns > GRACE_NS


class TcpStreams:
    """The two directions of a connection, and what is to be given out of them.

    `dropped` counts the segments that are not.
    """

    __slots__ = (
        "_dropped",
        "_moment",
        "_was_reset",
        "accepted",
        "counted",
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
        self.accepted = False
        """Whether the server has said anything but a reset."""
        self.last = 0
        """Which packet of the capture was its last one."""
        self.last_ns = moment.time_ns
        """When bytes came last."""
        self.pending: PendingSyn | None = None
        self.successor: list[tuple[int, Segment]] = []
        """The segments, with times, of a conversation that began here without a SYN captured."""
        self.counted = 0
        """What its owner has counted as its cost."""
        self._was_reset = False
        self._moment = moment
        self._dropped = dropped

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

    def other_of(self, half: Receiver) -> Receiver:
        """Return the opposite direction."""
        return self.halves[1] if half.from_client else self.halves[0]

    def drop(self, reason: DropReason, segment: Segment | None = None) -> None:
        """Count a segment that is not given out."""
        self._dropped.add(reason, payload=0 if segment is None else len(segment.payload))

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
        """Believe a reset at the byte that is awaited, or one after which nothing more comes."""
        reset = half.pending_reset
        if reset is None or self.over:
            return
        # After a FIN, which counts as a byte, either number is seen.
        exact = reset.offset in ((half.next, half.next + 1) if half.closed else (half.next,))
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
        for group in list(half.detached):
            self._forget(half, group)
        half.clear()
        events.append(Closed(self.number, half.from_client, reset, time_ns))
        self.over = self.over or all(each.closed for each in self.halves)
        for each in self.halves:
            if self.over and each.pending_reset is not None:
                self._disbelieve(each)

    def _take_again(self, half: Receiver, segment: Segment, time_ns: int) -> None:
        """Take a segment of a direction that fitted nowhere when it came, and does now."""
        raise NotImplementedError
