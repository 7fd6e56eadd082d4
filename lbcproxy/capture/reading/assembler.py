"""One pass over a file: from its packets or messages to the events of its sessions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias, cast

import msgspec

from lbcproxy import networks
from lbcproxy.capture.dropped import DropReason
from lbcproxy.capture.events import Event, SectionHeader
from lbcproxy.capture.ip.segments import dissect
from lbcproxy.capture.packet import PSH, Leg, Packet, Section, Segment, Statistics
from lbcproxy.capture.reading.annotations import (
    NO_ANNOTATIONS,
    Annotations,
    agreed_version,
    network_of,
    parse_annotations,
    section_header,
    stream_offsets,
    transports_of,
    with_host_names,
)
from lbcproxy.capture.reading.captured_connection import CapturedConnection, SharedState
from lbcproxy.capture.reading.captured_session import CapturedSession, session_core
from lbcproxy.capture.reading.delivered_events import DeliveredEvents
from lbcproxy.capture.reading.losses import LossTracker
from lbcproxy.capture.reading.pairing import RewritePending, RewriteSent
from lbcproxy.capture.reading.read_stats import ReadStats
from lbcproxy.capture.reading.session_numbers import SessionNumbers
from lbcproxy.capture.tcp.lookahead import Lookahead
from lbcproxy.capture.tcp.ordered import OrderedStreams
from lbcproxy.capture.tcp.reassembler import Reassembler
from lbcproxy.capture.tcp.stream_events import (
    AnnotatedEvent,
    Closed,
    Data,
    Gap,
    Noted,
    Opened,
    StreamEvent,
)
from lbcproxy.networks import Network
from lbcproxy.session import Direction, End, Session
from lbcproxy.session.end import OPEN, SILENT
from lbcproxy.session.verdict import EntryVerdict

if TYPE_CHECKING:
    from lbcproxy.transport.key_log import KeyLog

__all__ = ["Assembler", "AssemblerEvent"]

_RECEIVED = {Leg.CLIENT: Direction.TO_UPSTREAM, Leg.UPSTREAM: Direction.TO_CLIENT}
_SERVER_PORTS = frozenset(network.port for network in networks.all_networks().values())

AssemblerEvent: TypeAlias = Event | RewritePending | RewriteSent
"""`RewritePending` and `RewriteSent` occur only if what was sent is on the other leg."""


class Assembler:
    """Accepts what a file holds and returns what happened in its sessions.

    If `network` is given, all connections are read as traffic of that network.
    """

    def __init__(
        self, stats: ReadStats, network: Network | None, keys: KeyLog | None = None
    ) -> None:
        self._stats = stats
        self._chosen_network = network
        self._sessions: dict[int, CapturedSession] = {}
        self._delivered = DeliveredEvents(stats, self._sessions)
        self._shared = SharedState(keys, stats.dropped)
        self._losses = LossTracker(stats.lost)
        self._numbers = SessionNumbers()
        self._begin(SectionHeader(), is_ours=False)

    def _begin(self, header: SectionHeader, *, is_ours: bool) -> None:
        """Begin a section: connections do not continue across sections."""
        self._streams: OrderedStreams | Reassembler
        self._lookahead: Lookahead | None = None
        if is_ours:
            self._streams = OrderedStreams()
        else:
            self._streams = reassembler = Reassembler(
                _SERVER_PORTS, dropped=self._stats.dropped, silent=self._stats.silent
            )
            self._lookahead = Lookahead(reassembler.knows)
        self._connections: dict[int, CapturedConnection] = {}
        self._numbers.begin_section()
        self._last_time = 0
        self._section_network = None
        with suppress(KeyError):
            self._section_network = networks.get(header.network or "")
        # If the file has one leg only, it has no second copy of anything.
        self._by_leg = header.changes and header.legs == "both"

    def feed(
        self, item: Packet | Section | AnnotatedEvent | Statistics
    ) -> Iterable[AssemblerEvent]:
        """Accept the next item of a file and return what it completes.

        The caller must take all of that before it feeds the next item.
        """
        if isinstance(item, Packet):  # by far the most frequent, so no generator is made for it
            return self._packet(item)
        return self._other(item)

    def _other(self, item: Section | AnnotatedEvent | Statistics) -> Iterator[AssemblerEvent]:
        if isinstance(item, Section):
            yield from self.finish()
            self._losses.begin(item)
            header = section_header(item)
            self._begin(header, is_ours=bool(parse_annotations(item.custom)))
            self._stats.sections += 1
            for comment in item.comments:
                self._stats.add_comment(comment)
            yield header
        elif isinstance(item, AnnotatedEvent):
            self._last_time = item.event.time_ns
            self._stats.record_time(item.event.time_ns)
            annotations = cast("Annotations", item.annotations)
            yield from self._happened(item.event, annotations, item.complete)
        else:
            yield from self._losses.in_statistics(item)

    def _packet(self, packet: Packet) -> Iterable[AssemblerEvent]:
        self._stats.count_packet(packet.time_ns)
        segment = dissect(packet, self._stats.fragments, self._stats.dropped)
        events: Iterable[AssemblerEvent] = ()
        if segment is not None:
            self._stats.segments += 1
            if self._lookahead is None:
                events = self.segment(packet, segment)
            else:
                events = self._all_of(self._lookahead.feed(packet, segment))
        if packet.dropped:
            return itertools.chain(self._losses.in_packet(packet), events)
        return events

    def _all_of(self, captured: Iterable[tuple[Packet, Segment]]) -> Iterable[AssemblerEvent]:
        """Accept segments one after another; each is used up before the next is asked for."""
        if isinstance(captured, tuple):  # of one: it need not wait, as most do not
            return self.segment(*captured[0])
        return itertools.chain.from_iterable(self.segment(*each) for each in captured)

    def tick(self, seconds: float) -> Iterator[AssemblerEvent]:
        """Return what need not wait any longer, after no packet has come for `seconds`."""
        time_ns = self._last_time + int(seconds * 1_000_000_000)
        yield from self._released(lambda: self._streams.tick(time_ns))

    def finish(self) -> Iterator[AssemblerEvent]:
        """Return what is left at the end of a section."""
        yield from self._released(self._streams.finish)
        for number, connection in list(self._connections.items()):
            yield from self._end(number, connection, self._last_time, OPEN)

    def _released(self, last: Callable[[], list[StreamEvent]]) -> Iterator[AssemblerEvent]:
        """Return what waits in the lookahead, and then these events of the streams."""
        if self._lookahead is not None:
            yield from self._all_of(self._lookahead.finish())
        for event in last():
            yield from self._happened(event, NO_ANNOTATIONS, True)

    def segment(self, packet: Packet, segment: Segment) -> Iterable[AssemblerEvent]:
        """Accept a TCP segment and the packet that it came in."""
        self._last_time = packet.time_ns
        if not packet.custom and not packet.comments:
            events = self._streams.feed(packet.time_ns, segment)
            return self._all_happened(events, NO_ANNOTATIONS, segment) if events else ()
        annotations = parse_annotations(packet.custom)
        if packet.comments and self._lookahead is not None:
            annotations = {"comments": list(packet.comments)}
            if not segment.payload:
                self._stats.not_kept["comments of packets without data"] += len(packet.comments)
        events = self._streams.feed(
            packet.time_ns,
            segment,
            missing=annotations.get("missing"),
            begins="leg" in annotations,
        )
        return self._all_happened(events, annotations, segment)

    def _all_happened(
        self, events: list[StreamEvent], annotations: Annotations, segment: Segment
    ) -> Iterable[AssemblerEvent]:
        complete = bool(segment.flags & PSH)
        if len(events) == 1:
            return self._happened(events[0], annotations, complete)
        return itertools.chain.from_iterable(
            self._happened(event, annotations, complete) for event in events
        )

    def _happened(
        self, event: StreamEvent, annotations: Annotations, complete: bool
    ) -> Iterable[AssemblerEvent]:
        happened = self._events_of(event, annotations, complete)
        if "transports" in annotations:
            return itertools.chain(self._transports(event, annotations), happened)
        return happened

    def _events_of(
        self, event: StreamEvent, annotations: Annotations, complete: bool
    ) -> Iterable[AssemblerEvent]:
        if isinstance(event, Opened):
            return self._open(event, annotations)
        connection = self._connections.get(event.connection)
        if connection is None:
            return ()
        if isinstance(event, Data):
            return self._data(connection, event, annotations, complete)
        if isinstance(event, Gap):
            return self._gap(connection, event, annotations)
        if isinstance(event, Closed):
            return self._closed(connection, event, End.from_dict(annotations.get("end")))
        if isinstance(event, Noted):
            return ()
        return self._end(event.connection, connection, event.time_ns, SILENT)

    def _transports(self, event: StreamEvent, annotations: Annotations) -> Iterator[AssemblerEvent]:
        """Report how the legs of a session carry messages, according to the file."""
        connection = self._connections.get(event.connection)
        transports = transports_of(annotations)
        if connection is None or transports is None or connection.is_decrypted:
            return
        session = self._sessions.get(connection.number or 0)
        if session is not None:
            yield from session.transports_agreed(transports, event.time_ns)

    def _gap(
        self, connection: CapturedConnection, event: Gap, annotations: Annotations
    ) -> Iterable[AssemblerEvent]:
        direction = _direction(event.from_client)
        # The leg that received the direction reports its gaps.
        if connection.is_outgoing(direction) and "missing" in annotations:
            return ()
        return self._delivered.of(
            connection, connection.gap(direction, event.missing, event.time_ns)
        )

    def _open(self, event: Opened, annotations: Annotations) -> Iterator[AssemblerEvent]:
        leg = Leg.UPSTREAM if annotations.get("leg") == Leg.UPSTREAM else Leg.CLIENT
        own, event = annotations.get("session"), with_host_names(event, annotations)
        if leg is Leg.UPSTREAM and not self._by_leg:  # the client leg has the same messages
            if (known := self._sessions.get(self._numbers.known(own) or 0)) is not None:
                yield from known.connected(event.client, event.time_ns)
            return
        begun = event.begun and not annotations.get("continued", False)
        event = msgspec.structs.replace(event, begun=begun)
        version = agreed_version(annotations)
        connection = CapturedConnection(
            event,
            lambda network: self._make_session(network, connection, begun, version),
            network=self._chosen_network or network_of(annotations) or self._section_network,
            received=_RECEIVED[leg] if self._by_leg else None,
            upstream=annotations.get("upstream"),
            shared=self._shared,
        )
        connection.offsets = stream_offsets(annotations)
        self._connections[event.connection] = connection
        if "session" not in annotations:
            return
        # In a file of ours, both legs of a session have its number.
        number = self._numbers.known(own) if leg is Leg.UPSTREAM else None
        if number is None:
            number = self._next_session(own)
            self._numbers.remember(own, number)
        session = self._join(number, connection, begun, version)
        session.own_number = own
        if connection.network is not None:
            yield from session.start(connection, connection.network)
        if leg is Leg.UPSTREAM:
            yield from session.connected(event.client, event.time_ns)

    def _join(
        self, number: int, connection: CapturedConnection, begun: bool, version: int | None
    ) -> CapturedSession:
        """Add a connection to the session with a number, which is made if it is new."""
        connection.number = number
        session = self._sessions.get(number)
        if session is None:
            session = self._sessions[number] = CapturedSession(number)
            session.begun, session.protocol_version = begun, version
        session.legs.append(connection)
        return session

    def _next_session(self, own: object = 0) -> int:
        """Count a session and return its number; `own` is what the file calls it."""
        self._stats.sessions += 1
        return self._numbers.next(own)

    def _make_session(
        self, network: Network, connection: CapturedConnection, begun: bool, version: int | None
    ) -> Session:
        """Make the session core that reads a connection."""
        if connection.number is None:
            self._join(self._next_session(), connection, begun, version)
        assert connection.number is not None
        return session_core(connection.number, network, begun, version)

    def _data(
        self, connection: CapturedConnection, event: Data, annotations: Annotations, complete: bool
    ) -> Iterable[AssemblerEvent]:
        direction, data, time_ns = _direction(event.from_client), event.data, event.time_ns
        if connection.is_outgoing(direction):
            return self._sent(connection, event, annotations, complete)
        if "comments" in annotations:
            excess = connection.add_comments(direction, annotations["comments"])
            self._stats.not_kept["comments of packets"] += excess
        deliveries = connection.data(direction, data, time_ns)
        if complete and annotations.get("verdict") is not None:
            # The annotations are about these bytes; what follows does not belong to them.
            deliveries = itertools.chain(deliveries, connection.flush(direction, time_ns))
            return self._delivered.of(connection, deliveries, annotations)
        about_message = annotations if complete and "form" in annotations else NO_ANNOTATIONS
        passed = self._delivered.of(connection, deliveries, about_message)
        if not self._shared.limit.is_due(len(data)):
            return passed
        return itertools.chain(passed, self._release_excess(time_ns))

    def _sent(
        self, connection: CapturedConnection, event: Data, annotations: Annotations, complete: bool
    ) -> Iterator[AssemblerEvent]:
        """Accept what the proxy sent, which matters only if the message was changed."""
        direction, time_ns = _direction(event.from_client), event.time_ns
        verdict = annotations.get("verdict")
        message = connection.sent(direction, event.data, time_ns, complete=complete)
        if message is None or verdict is None or connection.number is None:
            return
        if verdict == EntryVerdict.INJECT:
            injected = connection.injected(direction, message, time_ns)
            yield from self._delivered.of(connection, injected, annotations)
        else:
            yield RewriteSent((connection.number, annotations.get("number")), message)

    def _release_excess(self, time_ns: int) -> Iterator[AssemblerEvent]:
        """If too much is buffered, cut the largest incomplete messages off where they are."""
        for connection in self._shared.limit.excess(list(self._connections.values())):
            for direction in Direction:
                cut = list(connection.flush(direction, time_ns))
                if cut and not connection.is_outgoing(direction):
                    self._stats.dropped.add(DropReason.TOO_MUCH_HELD)
                    yield from self._delivered.of(connection, cut)
            connection.forget_outgoing()

    def _closed(
        self, connection: CapturedConnection, event: Closed, stated: End | None = None
    ) -> Iterator[AssemblerEvent]:
        direction, time_ns = _direction(event.from_client), event.time_ns
        # After a reset, nothing will come in the other direction either.
        for each in (direction, direction.other) if event.reset else (direction,):
            yield from self._delivered.of(
                connection, connection.end(each, time_ns, event, stated=stated)
            )
        session = self._sessions.get(connection.number or 0)
        if session is not None:
            yield from session.closed(connection, direction, event, stated)
        if connection.has_ended:
            yield from self._forget(event.connection, connection, time_ns)

    def _end(
        self, number: int, connection: CapturedConnection, time_ns: int, end: End
    ) -> Iterator[AssemblerEvent]:
        """End a connection that nobody closed."""
        for direction in Direction:
            yield from self._delivered.of(connection, connection.end(direction, time_ns, None, end))
        yield from self._forget(number, connection, time_ns)

    def _forget(
        self, number: int, connection: CapturedConnection, time_ns: int
    ) -> Iterator[AssemblerEvent]:
        del self._connections[number]
        self._stats.skipped += connection.is_undecided and connection.has_bytes
        self._stats.not_kept["comments of packets"] += connection.waiting_comments
        session = self._sessions.get(connection.number or 0)
        if session is None:
            return
        yield from session.begin(connection, time_ns)
        yield from session.leg_ended(connection, time_ns)
        if not session.legs:
            del self._sessions[session.number]
            self._numbers.forget(session.own_number)


def _direction(from_client: bool) -> Direction:
    return Direction.TO_UPSTREAM if from_client else Direction.TO_CLIENT
