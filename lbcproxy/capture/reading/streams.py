"""The streams of bytes in TCP segments, put in order again.

Segments go in as they were captured: repeated, overlapping, out of order, of many connections.
Events come out. The client is who sent the SYN. Of a connection whose beginning was not
captured, the server is who has a port that servers are known to have; else who was connected to
before, in the same capture; else who has a port below those that systems give to clients. Else the
client is whose `version` is the first that is seen, since servers answer with theirs; else the side
with the higher port; with equal ports it is who was seen first. Packets without bytes open no
connection.

Bytes that come too early wait for those before them. Those before are given up, as a `Gap`, when
the other side has acknowledged them (it got them, so they will not be sent again), when too much
is waiting, and at the end of the capture.

Inside, places are counted from the first byte of a direction and do not wrap around; only
`_Half.place_of` knows sequence numbers.
"""

import heapq

from lbcproxy.capture.packet import ACK, FIN, RST, SYN, Segment
from lbcproxy.capture.reading.happening import Closed, Data, Forgotten, Gap, Opened, StreamEvent
from lbcproxy.endpoint import Endpoint

__all__ = ["Closed", "Data", "Forgotten", "Gap", "Opened", "Reassembler"]

_WRAP = 1 << 32
_MAX_WAITING = 16 * 2**20
# What a waiting segment costs beside its bytes: many tiny ones must not escape the bound.
_GRACE_PACKETS = 256
_GRACE_NS = 1_000_000_000
_OVERHEAD = 200
# Closed connections whose late repetitions are still recognised.
_MAX_REMEMBERED = 1024
_MAX_OPEN = 16_384
# Where the ports begin that systems give to those who connect: Linux's, the lowest.
_CLIENT_PORTS = 32_768
_VERSION = b"version".ljust(12, b"\0")  # behind a magic of 4 bytes


class _Half:
    """One direction of a connection."""

    def __init__(self, from_client: bool) -> None:
        self.from_client = from_client
        self.syn: int | None = None  # the sequence number of the SYN
        self.first: int | None = None  # the sequence number of place 0
        self.next = 0  # the place of the byte that is awaited
        self.acknowledged = 0  # the place up to which the other side has acknowledged
        # Since when (packets, time) bytes have been missing that the other side has.
        self.grace: tuple[int, int] | None = None
        self.waiting: dict[int, bytes] = {}
        self.order: list[int] = []  # a heap of the places in `waiting`
        self.cost = 0
        self.end: int | None = None  # the place of FIN or RST
        self.reset = False
        self.closed = False

    def place_of(self, sequence: int) -> int:
        """Give the place that a sequence number means: the one nearest to the byte awaited."""
        assert self.first is not None
        half = _WRAP // 2
        return self.next + (sequence - self.first - self.next + half) % _WRAP - half

    def put(self, place: int, payload: bytes) -> None:
        """Keep bytes that are not yet awaited."""
        held = self.waiting.get(place)
        if held is None:
            heapq.heappush(self.order, place)
            self.cost += _OVERHEAD
        elif len(held) >= len(payload):
            return
        self.cost += len(payload) - len(held or b"")
        self.waiting[place] = payload

    def take(self) -> bytes:
        """Take out what is awaited, if it is here, else nothing."""
        while self.order and self.order[0] <= self.next:
            place = heapq.heappop(self.order)
            payload = self.waiting.pop(place)
            self.cost -= len(payload) + _OVERHEAD
            if place + len(payload) > self.next:
                return payload[self.next - place :]
        return b""

    def hole_end(self) -> int | None:
        """Give the place where something is known behind missing bytes."""
        return self.order[0] if self.order else self.end


class _Connection:
    """Two directions, and who is who."""

    def __init__(self, number: int, client: Endpoint, server: Endpoint) -> None:
        self.number = number
        self.key = (client, server)
        self.halves = (_Half(True), _Half(False))
        self.over = False
        self.last = 0  # which packet was the last of it

    def half_of(self, source: Endpoint) -> _Half:
        """Give the direction in which one end sends."""
        return self.halves[0 if source == self.key[0] else 1]


class Reassembler:
    """Turns segments into events, for any number of connections at once."""

    def __init__(
        self, max_waiting: int = _MAX_WAITING, server_ports: frozenset[int] = frozenset()
    ) -> None:
        self._max_waiting = max_waiting
        self._server_ports = server_ports
        self._count = 0
        self._packets = 0
        self._time_ns = 0
        self._open: dict[tuple[Endpoint, Endpoint], _Connection] = {}
        # In the order in which they ended, for the oldest to be forgotten.
        self._remembered: dict[tuple[Endpoint, Endpoint], _Connection] = {}
        # Who was connected to, the latest last.
        self._servers: dict[Endpoint, None] = {}

    def knows(self, segment: Segment) -> bool:
        """Whether it is known where the stream begins that a segment is of."""
        found = self._found(segment)
        if found is None:
            return False
        return found.over or found.half_of(segment.source).first is not None

    def has(self, segment: Segment) -> bool:
        """Whether the connection of a segment is open."""
        key, back = (segment.source, segment.target), (segment.target, segment.source)
        return key in self._open or back in self._open

    def open_ends(self) -> list[frozenset[Endpoint]]:
        """Return between whom connections are open."""
        return list(map(frozenset, self._open))

    def feed(
        self, time_ns: int, segment: Segment, *, behind_gap: bool = False
    ) -> list[StreamEvent]:
        """Take the next captured segment and give what it makes known, in order.

        With `behind_gap` what is missing before it is known never to come.
        """
        self._time_ns = time_ns
        self._packets += 1
        events: list[StreamEvent] = []
        connection = self._connection(segment, events)
        if connection is None or connection.over:
            return events
        connection.last = self._packets
        mine, other = connection.halves
        if segment.source != connection.key[0]:
            mine, other = other, mine
        if segment.flags & ACK and other.first is not None:
            place = other.place_of(segment.acknowledgment)
            if place > other.acknowledged:
                other.acknowledged = place
                self._advance(connection, other, events)
        if not connection.over:
            if behind_gap:
                self._give_up(connection, mine, segment, events)
            self._receive(connection, mine, segment, events)
        if other.order and not connection.over:
            self._advance(connection, other, events)
        return events

    def finish(self) -> list[StreamEvent]:
        """Give what still waits behind missing bytes: no segment will come any more.

        Directions that were not closed stay so. The reassembler is empty afterwards.
        """
        events: list[StreamEvent] = []
        for connection in list(self._open.values()):
            self._flush(connection, events)
        self._open.clear()
        self._remembered.clear()
        return events

    def _connection(self, segment: Segment, events: list[StreamEvent]) -> _Connection | None:
        """Find the connection a segment belongs to, opened if it is new."""
        key, back = (segment.source, segment.target), (segment.target, segment.source)
        found = self._found(segment)
        if segment.flags & SYN:
            if found is not None and _belongs(found, segment):
                return found
            if found is not None and not found.over:
                self._displace(found, events)
            return self._opened(*(back if segment.flags & ACK else key), events)
        if found is not None or not segment.payload:
            return found
        return self._opened(*(back if self._is_answer(segment) else key), events, begun=False)

    def _found(self, segment: Segment) -> _Connection | None:
        key, back = (segment.source, segment.target), (segment.target, segment.source)
        found = self._open.get(key) or self._open.get(back)
        return found or self._remembered.get(key) or self._remembered.get(back)

    def _is_answer(self, segment: Segment) -> bool:
        """Whether a segment without a SYN before it is the server's, as far as one can tell."""
        source, target = segment.source, segment.target
        for mine, other in (
            (source.port in self._server_ports, target.port in self._server_ports),
            (source in self._servers, target in self._servers),
            (source.port < _CLIENT_PORTS, target.port < _CLIENT_PORTS),
        ):
            if mine is not other:
                return mine
        return segment.payload[4:16] != _VERSION and source.port < target.port

    def _opened(
        self, client: Endpoint, server: Endpoint, events: list[StreamEvent], *, begun: bool = True
    ) -> _Connection:
        self._count += 1
        connection = _Connection(self._count, client, server)
        for key in ((client, server), (server, client)):
            self._remembered.pop(key, None)
        if len(self._open) >= _MAX_OPEN:
            self._forget(events)
        self._open[client, server] = connection
        if begun:
            self._servers.pop(server, None)
            self._servers[server] = None
            if len(self._servers) > _MAX_REMEMBERED:
                del self._servers[next(iter(self._servers))]
        events.append(Opened(connection.number, client, server, self._time_ns, begun))
        return connection

    def _forget(self, events: list[StreamEvent]) -> None:
        """Let go of the half of all connections that were silent for longest."""
        for connection in sorted(self._open.values(), key=lambda each: each.last)[: _MAX_OPEN // 2]:
            self._flush(connection, events)
            if not connection.over:
                connection.over = True
                del self._open[connection.key]
                events.append(Forgotten(connection.number, self._time_ns))

    def _receive(
        self, connection: _Connection, half: _Half, segment: Segment, events: list[StreamEvent]
    ) -> None:
        """Put the bytes of a segment, and its end of the stream, where they belong."""
        flags, payload, sequence = segment.flags, segment.payload, segment.sequence
        if flags & SYN:
            half.syn = sequence
            sequence = (sequence + 1) % _WRAP
        if half.first is None:
            if not flags & (SYN | FIN | RST) and not payload:
                return
            half.first = sequence
        place = half.place_of(sequence)
        if flags & RST:
            # Its payload, if any, is a remark of the sender's and no part of the stream.
            self._end_by_reset(connection, half, place, events)
        elif not half.closed:
            if flags & FIN and half.end is None:
                half.end = place + len(payload)
            if place + len(payload) > half.next:
                half.put(place, payload)
        if not connection.over:
            self._advance(connection, half, events)

    def _give_up(
        self, connection: _Connection, half: _Half, segment: Segment, events: list[StreamEvent]
    ) -> None:
        """Skip what is missing before a segment."""
        if half.first is None or half.closed:
            return
        place = half.place_of(segment.sequence)
        while half.next < place and (end := min(place, half.hole_end() or place)) > half.next:
            self._skip(connection, half, end, events)
            self._deliver(connection, half, events)

    def _end_by_reset(
        self, connection: _Connection, half: _Half, place: int, events: list[StreamEvent]
    ) -> None:
        """Let a reset wait for the bytes before it, unless its place is beyond belief."""
        if half.closed or not half.next <= place <= half.next + self._max_waiting:
            self._flush(connection, events)
            place = half.next
        half.reset, half.closed, half.end = True, False, place

    def _advance(self, connection: _Connection, half: _Half, events: list[StreamEvent]) -> None:
        """Give all that is in order now, and what may not wait any longer."""
        while True:
            self._deliver(connection, half, events)
            hole_end = None if half.closed else half.hole_end()
            if hole_end is None:
                return
            if half.cost <= self._max_waiting and not self._given_up(half, hole_end):
                return
            self._skip(connection, half, hole_end, events)

    def _given_up(self, half: _Half, hole_end: int) -> bool:
        """Whether missing bytes will not be in the file any more.

        The other side has them, so the capture has lost them; unless it only has packets out of
        order, for which there is some grace.
        """
        if half.acknowledged < hole_end:
            return False
        if half.grace is None:
            half.grace = (self._packets, self._time_ns)
        packets, time_ns = half.grace
        late = self._packets - packets > _GRACE_PACKETS
        return late or self._time_ns - time_ns > _GRACE_NS

    def _deliver(self, connection: _Connection, half: _Half, events: list[StreamEvent]) -> None:
        """Give all that is in order now, then the end if it is reached."""
        number, from_client = connection.number, half.from_client
        while payload := half.take():
            half.next += len(payload)
            half.grace = None
            events.append(Data(number, from_client, payload, self._time_ns))
        if half.end is not None and half.next >= half.end and not half.closed:
            self._close(connection, half, events)

    def _skip(
        self, connection: _Connection, half: _Half, place: int, events: list[StreamEvent]
    ) -> None:
        """Give up the bytes before a place."""
        missing = place - half.next
        half.next = place
        half.grace = None
        events.append(Gap(connection.number, half.from_client, missing, self._time_ns))

    def _close(self, connection: _Connection, half: _Half, events: list[StreamEvent]) -> None:
        """End one direction, and forget the connection if that ends it."""
        half.closed = True
        half.waiting.clear()
        half.order.clear()
        half.cost = 0
        if half.reset:
            if connection.over:
                return  # Both sides reset, and the other's came first.
            connection.over = True
            self._flush(connection, events)
        events.append(Closed(connection.number, half.from_client, half.reset, self._time_ns))
        if half.reset or all(each.closed for each in connection.halves):
            connection.over = True
            self._open.pop(connection.key, None)
            self._remembered[connection.key] = connection
            if len(self._remembered) > _MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]

    def _flush(self, connection: _Connection, events: list[StreamEvent]) -> None:
        """Give up all missing bytes, so that nothing waits."""
        for half in connection.halves:
            while not half.closed and (place := half.hole_end()) is not None:
                self._skip(connection, half, place, events)
                self._deliver(connection, half, events)

    def _displace(self, connection: _Connection, events: list[StreamEvent]) -> None:
        """End a connection whose addresses a new one has taken."""
        self._flush(connection, events)
        for half in connection.halves:
            if not half.closed and not connection.over:
                half.reset, half.end = True, half.next
                self._close(connection, half, events)


def _belongs(connection: _Connection, segment: Segment) -> bool:
    """Whether a SYN is of this connection, not the first of a new one."""
    half = connection.half_of(segment.source)
    if connection.over:
        # A late repetition of the answer; a repeated question would look like a new one.
        return bool(segment.flags & ACK) and half.syn == segment.sequence
    if half.syn is not None:
        return half.syn == segment.sequence
    if half.first is None or segment.flags & ACK:
        return True
    return half.first == (segment.sequence + 1) % _WRAP
