"""Reassembles the byte streams of captured TCP segments as their receivers did.

Segments go in as they were captured: repeated, overlapping, out of order, of many connections that
may use the same ports one after another. Events come out. `TcpConnection` judges the sequence
numbers of one connection; the reassembler decides which connection a segment belongs to.

A SYN in an open connection does not end it (RFC 5961, 4). It waits until the other side accepts it,
or until bytes come that fit only the new sequence numbers.
"""

from __future__ import annotations

from lbcproxy.capture.dropped import Dropped, DropReason
from lbcproxy.capture.packet import ACK, FIN, RST, SYN, Segment
from lbcproxy.capture.tcp.connection import TcpConnection
from lbcproxy.capture.tcp.delivery import GRACE_NS, is_version
from lbcproxy.capture.tcp.detached import WRAP
from lbcproxy.capture.tcp.open_connections import (
    MAX_COST,
    SWEEP_NS,
    OpenConnections,
)
from lbcproxy.capture.tcp.pending_syn import PendingSyn
from lbcproxy.capture.tcp.server_guess import ServerGuess
from lbcproxy.capture.tcp.silent import SilentConnections
from lbcproxy.capture.tcp.stream_events import Opened, StreamEvent
from lbcproxy.endpoint import Endpoint

__all__ = ["Reassembler"]


class Reassembler(OpenConnections):
    """Turns segments into events, for any number of connections at once.

    Args:
        dropped: Counts the segments that are not passed on.
        silent: Counts the connections on which no byte was sent.
        server_ports: Ports that identify a server if no SYN was captured.
        max_cost: Bytes that all connections together may buffer.
    """

    def __init__(
        self,
        server_ports: frozenset[int] = frozenset(),
        *,
        dropped: Dropped | None = None,
        silent: SilentConnections | None = None,
        max_cost: int = MAX_COST,
    ) -> None:
        super().__init__(dropped, silent, max_cost)
        self._count = 0
        self._servers = ServerGuess(server_ports)

    def knows(self, segment: Segment) -> bool:
        """Return whether the start of a segment's stream is known."""
        found = self._connections.get((segment.source, segment.target))
        return found is not None and found.knows(segment)

    def has(self, segment: Segment) -> bool:
        """Return whether the connection of a segment is open."""
        found = self._connections.get((segment.source, segment.target))
        return found is not None and not found.over

    def open_ends(self) -> list[frozenset[Endpoint]]:
        """Return the ends of all open connections."""
        return [frozenset(each.key) for each in self._open.values()]

    def feed(
        self, time_ns: int, segment: Segment, *, missing: int | None = None, begins: bool = False
    ) -> list[StreamEvent]:
        """Accept the next captured segment and return the events that follow from it, in order.

        Args:
            time_ns: When it was captured, in nanoseconds since 1970.
            segment: The segment.
            missing: How many bytes are missing before it for good, according to its annotations.
            begins: Whether it is known to be the first of a connection, which has a SYN.
        """
        moment = self._moment
        moment.packets += 1
        moment.time_ns = time_ns
        connection = self._connections.get((segment.source, segment.target))
        if connection is not None and not segment.flags & (SYN | FIN | RST):
            usual = connection.receive_next(segment)
            if usual is not None:
                return usual
        events: list[StreamEvent] = []
        if not 0 <= time_ns - self._swept_ns < SWEEP_NS:
            self._sweep(events)
        connection = self._connection_of(segment, begins, events)
        if connection is None:
            return events
        if missing:
            connection.skip_to(segment, events)
        connection.receive(segment, events)
        self._look_after(connection, events)
        return events

    def tick(self, time_ns: int) -> list[StreamEvent]:
        """Record that time has passed without a packet, and return the resulting events."""
        events: list[StreamEvent] = []
        self._moment.time_ns = max(time_ns, self._moment.time_ns)
        self._sweep(events)
        return events

    def finish(self) -> list[StreamEvent]:
        """Return the events of everything that still waits, because no segment follows.

        Directions that are open are not closed by this. The reassembler is empty afterwards.
        """
        events: list[StreamEvent] = []
        for connection in list(dict.fromkeys(self._connections.values())):
            self._finish_pending(connection, events)
        for connection in list(self._open.values()):
            self._drop_pending(connection)
            connection.flush(events)
            if connection.successor:
                self._succeed(connection, events).flush(events)
            self._count_silence(connection)
        for each in (self._connections, self._open, self._waiting, self._remembered):
            each.clear()
        return events

    # Which connection a segment belongs to

    def _connection_of(
        self, segment: Segment, begins: bool, events: list[StreamEvent]
    ) -> TcpConnection | None:
        """Return the connection of a segment, which is opened if it is new; None if it has none."""
        found = self._connections.get((segment.source, segment.target))
        if segment.flags & SYN and not segment.flags & RST:
            if found is None or begins:
                return self._opened_by(segment, events)
            if segment.flags & ACK:
                return self._of_syn_ack(found, segment, events)
            return self._of_syn(found, segment, events)
        if found is None:
            return self._opened_in_middle(segment, events) if segment.payload else None
        if found.over:
            if found.pending is not None and found.is_of_pending(segment):
                return self._opened_from(found.pending, events)
            return self._opened_in_middle(segment, events) if found.is_next(segment) else None
        if found.pending is not None:
            return self._resolve(found, found.pending, segment, events)
        return found

    def _of_syn(
        self, found: TcpConnection, segment: Segment, events: list[StreamEvent]
    ) -> TcpConnection | None:
        """Decide whether a SYN belongs to this connection or starts the next one."""
        half, _ = found.halves_of(segment.source)
        if half.syn == segment.sequence and not found.over:
            return None  # sent again
        is_again = found.had_syn(segment.source, segment.sequence)
        if found.over and not is_again:
            return self._opened_by(segment, events)
        if is_again and not found.over:
            found.drop(DropReason.IGNORED_SYN)  # late
            return None
        if half.syn is None and not found.over and half.may_begin_with(segment.sequence + 1):
            return found
        pending = found.pending
        if pending is None or pending.client_syn != segment.sequence:
            found = self._finish_pending(found, events)
            self._drop_pending(found)
            now = self._moment.time_ns
            pending = PendingSyn(segment.source, segment.target, segment.sequence, now)
            pending.is_attempt = not is_again and not found.is_answered
            found.pending = pending
        pending.record(segment)
        return None

    def _finish_pending(self, found: TcpConnection, events: list[StreamEvent]) -> TcpConnection:
        """Open the connection of an unanswered SYN, unless the SYN was in an open connection."""
        pending = found.pending
        is_open = found.is_established and not found.over
        if pending is None or is_open or not (pending.is_attempt or pending.is_answered):
            return found
        return self._opened_from(pending, events)

    def _of_syn_ack(
        self, found: TcpConnection, segment: Segment, events: list[StreamEvent]
    ) -> TcpConnection | None:
        """Decide whether a SYN-ACK belongs to this connection, or to one whose SYN was not seen."""
        half, other = found.halves_of(segment.source)
        client_syn = (segment.acknowledgment - 1) % WRAP
        pending = found.pending
        if (
            pending is not None
            and pending.server == segment.source
            and pending.client_syn == client_syn
        ):
            if pending.server_syn is not None:
                if pending.server_syn != segment.sequence:  # otherwise it is sent again
                    found.drop(DropReason.IGNORED_SYN)
                return None
            is_recent = self._moment.time_ns - found.last_ns <= GRACE_NS
            is_answered = None not in (half.syn, other.syn) and not found.is_established
            if found.over or not is_answered or not is_recent:
                return self._opened_from(pending, events)
            # Of two attempts that are both answered, the next segments show which is the later.
            pending.server_syn = segment.sequence
            pending.record(segment)
            return None
        is_again = half.syn == segment.sequence or found.had_syn(segment.target, client_syn)
        if is_again and not found.had_unanswered_syn(segment.target, client_syn):
            return None  # sent again, or late
        if found.over:
            return self._opened_by(segment, events)
        if (
            half.syn is None
            and half.may_begin_with(segment.sequence + 1)
            and other.syn in (None, client_syn)
            and other.may_begin_with(client_syn + 1)
        ):
            return found
        if pending is not None and pending.server_syn is None and pending.server == segment.source:
            found.drop(DropReason.IGNORED_SYN)  # it answers a SYN other than the pending one
            return None
        self._drop_pending(found)
        if half.syn is not None and other.syn == client_syn:
            found.drop(DropReason.IGNORED_SYN)  # the SYN was answered by another number
            return None
        now = self._moment.time_ns
        found.pending = pending = PendingSyn(segment.target, segment.source, client_syn, now)
        pending.server_syn = segment.sequence
        pending.record(segment)
        return None

    def _resolve(
        self,
        found: TcpConnection,
        pending: PendingSyn,
        segment: Segment,
        events: list[StreamEvent],
    ) -> TcpConnection | None:
        """Decide by a segment whether a SYN started a new connection or the old one continues."""
        half, other = found.halves_of(segment.source)
        by_client = segment.source == pending.client
        number, length = segment.sequence, len(segment.payload)
        is_old = half.first is not None and half.fits(number, length)
        if pending.server_syn is not None and not found.is_established:
            is_old = half.first is not None and half.is_at(number)
        if not by_client:
            acknowledged = other.first is None or other.fits(segment.acknowledgment, 0)
            is_old = acknowledged and (is_old or half.first is None)
        if found.is_unanswered and pending.accepts(segment):
            is_old = False  # the client may not send anything before it has an answer
        if is_old:
            if by_client and segment.payload and not half.covers(number, length):
                self._drop_pending(found)
        elif pending.accepts(segment):
            is_foreign = pending.server_syn is not None and not pending.is_answered
            if is_foreign and pending.refuses(segment):
                self._drop_pending(found)  # the client has not sent the SYN that was answered
                found.drop(DropReason.IGNORED_RESET)
                return None
            return self._opened_from(pending, events)
        return found

    # Opening and closing

    def _opened_by(self, segment: Segment, events: list[StreamEvent]) -> TcpConnection:
        """Open the connection of a SYN or SYN-ACK."""
        client, server = segment.source, segment.target
        if segment.flags & ACK:
            client, server = server, client
        previous = self._connections.get((client, server))
        opened = self._opened(client, server, events)
        if segment.flags & ACK:
            # The next segments may answer a SYN that has not been answered so far.
            opened.pending = previous.pending if previous is not None else None
            opened.halves[0].begin(segment.acknowledgment)
            opened.halves[0].syn = (segment.acknowledgment - 1) % WRAP
        return opened

    def _opened_from(self, pending: PendingSyn, events: list[StreamEvent]) -> TcpConnection:
        """Open the connection of a pending SYN."""
        opened = self._opened(pending.client, pending.server, events, time_ns=pending.time_ns)
        syns = (pending.client_syn, pending.server_syn)
        for half, end, syn in zip(opened.halves, opened.key, syns, strict=True):
            if syn is not None:
                half.syn = syn
                half.begin(syn + 1)
            if end in pending.syns:
                window, half.scale = pending.syns[end]
                opened.other_of(half).edge = window
        return opened

    def _opened_in_middle(
        self, segment: Segment, events: list[StreamEvent], time_ns: int | None = None
    ) -> TcpConnection:
        """Open the connection of a segment whose SYN was not seen."""
        client, server = segment.source, segment.target
        if self._servers.is_answer(segment):
            client, server = server, client
        return self._opened(client, server, events, time_ns=time_ns, begun=False)

    def _opened(
        self,
        client: Endpoint,
        server: Endpoint,
        events: list[StreamEvent],
        *,
        time_ns: int | None = None,
        begun: bool = True,
    ) -> TcpConnection:
        """Open a connection; this ends one with the same addresses and ports."""
        while (previous := self._connections.get((client, server))) and not previous.over:
            previous.displace(events)
            self._look_after(previous, events)
        if previous is not None:
            self._remembered.pop(previous.number, None)
        self._make_room(events)
        self._count += 1
        opened = TcpConnection(self._count, client, server, self._moment, self.dropped)
        if previous is not None:
            opened.succeed(previous)
        self._connections[client, server] = self._connections[server, client] = opened
        self._open[opened.number] = opened
        self._keep()
        if begun:
            self._servers.add(server)
        time_ns = self._moment.time_ns if time_ns is None else time_ns
        events.append(Opened(opened.number, client, server, time_ns, begun))
        return opened

    def _succeed(self, old: TcpConnection, events: list[StreamEvent]) -> TcpConnection:
        """Open the connection that has started on the ports of another without a SYN."""
        segments, old.successor = old.successor, []
        time_ns, first = next(each for each in segments if is_version(each[1].payload))
        opened = self._opened_in_middle(first, events, time_ns)
        now = self._moment.time_ns
        for self._moment.time_ns, segment in segments:
            opened.receive(segment, events)
        self._moment.time_ns = now
        self._look_after(opened, events)
        return opened
