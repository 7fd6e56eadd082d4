"""The streams of a capture that lbcproxy wrote itself.

Its packets are in order, none is repeated, and no two open connections have the same addresses and
ports. So nothing waits here and nothing is guessed: a SYN starts a connection, and an unexpected
sequence number is a gap.
"""

from __future__ import annotations

from lbcproxy.capture.packet import ACK, FIN, RST, SYN, Segment
from lbcproxy.capture.tcp.detached import WRAP
from lbcproxy.capture.tcp.receiver import gap_size
from lbcproxy.capture.tcp.stream_events import (
    MAX_OPEN,
    Closed,
    Data,
    Forgotten,
    Gap,
    Opened,
    StreamEvent,
)
from lbcproxy.endpoint import Endpoint

__all__ = ["OrderedStreams"]

Key = tuple[Endpoint, Endpoint]


class _OpenConnection:
    """An open connection."""

    __slots__ = ("closed", "key", "last", "next", "number")

    def __init__(self, number: int, key: Key) -> None:
        self.number = number
        self.key = key
        self.last = 0
        self.next: dict[bool, int] = {}
        """The next sequence number, by whether the client sends."""
        self.closed: set[bool] = set()


class OrderedStreams:
    """Turns segments into events, as `Reassembler` does for captures of other programs."""

    def __init__(self) -> None:
        self._count = 0
        self._packets = 0
        self._open: dict[Key, _OpenConnection] = {}

    def feed(
        self, time_ns: int, segment: Segment, *, missing: int | None = None, begins: bool = False
    ) -> list[StreamEvent]:
        """Accept the next segment and return the events that follow from it, in order.

        Args:
            time_ns: When it was captured, in nanoseconds since 1970.
            segment: The segment.
            missing: How many bytes are missing before it, according to its annotations.
            begins: Whether its annotations say that it is the first of a connection.
        """
        self._packets += 1
        events: list[StreamEvent] = []
        flags, sequence = segment.flags, segment.sequence
        connection, from_client = self._find(segment)
        if flags & SYN and (begins or connection is None or not flags & ACK):
            connection, from_client = self._opened(segment, time_ns, events), not flags & ACK
        elif connection is None:
            if not segment.payload:
                return events
            # The packet that opened it is missing: the file was damaged or cut by another tool.
            connection, from_client = self._opened(segment, time_ns, events, begun=False), True
        connection.last = self._packets
        if flags & SYN:
            connection.next[from_client] = (sequence + 1) % WRAP
            return events
        self._take(connection, from_client, segment, time_ns, missing, events)
        if flags & (FIN | RST):
            self._close(connection, from_client, bool(flags & RST), time_ns, events)
        return events

    def finish(self) -> list[StreamEvent]:
        """Forget all connections at the end of the capture."""
        self._open.clear()
        return []

    def tick(self, time_ns: int) -> list[StreamEvent]:
        """Do nothing: no event depends on time."""
        return []

    def has(self, segment: Segment) -> bool:
        """Return whether the connection of a segment is open."""
        return self._find(segment)[0] is not None

    def open_ends(self) -> list[frozenset[Endpoint]]:
        """Return the ends of all open connections."""
        return list(map(frozenset, self._open))

    def _find(self, segment: Segment) -> tuple[_OpenConnection | None, bool]:
        """Return the connection of a segment, and whether the client sent it."""
        found = self._open.get((segment.source, segment.target))
        if found is not None:
            return found, True
        return self._open.get((segment.target, segment.source)), False

    def _opened(
        self, segment: Segment, time_ns: int, events: list[StreamEvent], *, begun: bool = True
    ) -> _OpenConnection:
        key = segment.source, segment.target
        if segment.flags & (SYN | ACK) == SYN | ACK:
            key = key[::-1]
        for each in (key, key[::-1]):
            before = self._open.pop(each, None)
            if before is not None:
                events.append(Forgotten(before.number, time_ns))
        if len(self._open) >= MAX_OPEN:
            self._forget(time_ns, events)
        self._count += 1
        opened = self._open[key] = _OpenConnection(self._count, key)
        events.append(Opened(opened.number, *key, time_ns, begun))
        return opened

    def _take(
        self,
        connection: _OpenConnection,
        from_client: bool,
        segment: Segment,
        time_ns: int,
        missing: int | None,
        events: list[StreamEvent],
    ) -> None:
        if from_client in connection.closed:
            return
        payload, number = segment.payload, connection.number
        ahead = (segment.sequence - connection.next.get(from_client, segment.sequence)) % WRAP
        if missing:
            events.append(Gap(number, from_client, missing, time_ns))
        elif ahead and (payload or segment.flags & FIN):
            events.append(Gap(number, from_client, gap_size(ahead), time_ns))
        elif ahead:
            return  # an acknowledgment or a reset holds no bytes
        connection.next[from_client] = (segment.sequence + len(payload)) % WRAP
        if payload:
            events.append(Data(number, from_client, payload, time_ns))

    def _close(
        self,
        connection: _OpenConnection,
        from_client: bool,
        reset: bool,
        time_ns: int,
        events: list[StreamEvent],
    ) -> None:
        if from_client in connection.closed and not reset:
            return
        connection.closed.add(from_client)
        events.append(Closed(connection.number, from_client, reset, time_ns))
        if reset or len(connection.closed) == 2:
            del self._open[connection.key]

    def _forget(self, time_ns: int, events: list[StreamEvent]) -> None:
        """Forget the half of all connections that has been silent longest."""
        oldest = sorted(self._open.values(), key=lambda each: each.last)[: MAX_OPEN // 2]
        for connection in oldest:
            del self._open[connection.key]
            events.append(Forgotten(connection.number, time_ns))
