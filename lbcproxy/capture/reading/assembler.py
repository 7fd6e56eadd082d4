"""One pass over a file: what happened in its sessions, from its packets or its messages."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeAlias

import msgspec

from lbcproxy import networks
from lbcproxy.capture.events import Event, Header
from lbcproxy.capture.ip.segments import dissect
from lbcproxy.capture.ip.synthetic import with_true_names
from lbcproxy.capture.packet import PSH, Leg, Packet, Section, Segment, Statistics
from lbcproxy.capture.reading.connection import Connection, Room, goes_out
from lbcproxy.capture.reading.conversation import Conversation
from lbcproxy.capture.reading.dropped import DropReason
from lbcproxy.capture.reading.facts import (
    Facts,
    facts_in,
    header_of,
    network_in,
    position_in,
    trail_in,
    version_in,
)
from lbcproxy.capture.reading.losses import Losses
from lbcproxy.capture.reading.pairing import Awaits, Sent
from lbcproxy.capture.reading.read_stats import Met
from lbcproxy.capture.tcp.lookahead import Lookahead
from lbcproxy.capture.tcp.ordered import OrderedStreams
from lbcproxy.capture.tcp.reassembler import Reassembler
from lbcproxy.capture.tcp.stream_events import Closed, Data, Gap, Happened, Opened, StreamEvent
from lbcproxy.networks import Network
from lbcproxy.session import Delivery, Direction, End, Session
from lbcproxy.session.end import OPEN, SILENT

__all__ = ["Reading"]

_NO_FACTS: Facts = {}
MAX_HELD = 256 << 20
"""Bytes of messages that are not whole yet, of all connections together."""
_CHECK_EVERY = 8 << 20
_CAME_IN = {Leg.CLIENT: Direction.TO_UPSTREAM, Leg.UPSTREAM: Direction.TO_CLIENT}
_SERVER_PORTS = frozenset(network.port for network in networks.all_networks().values())
_NOTHING: dict[str, Any] = {}
MOST_COMMENTS = 100
"""Comments that wait for a message of one direction to be complete."""

Told: TypeAlias = Event | Awaits | Sent


class Reading:
    """Takes what a file holds and gives what happened.

    `network` is what all of it is read as, if it is given. `Awaits` and `Sent` stand among the
    events where what went out is on the other leg.
    """

    def __init__(self, met: Met, network: Network | None) -> None:
        self._met = met
        self._asked = network
        self._number = 1  # the next entry's
        self._room = Room()
        self._unchecked = 0  # bytes since it was looked how much is held
        self._losses = Losses(met.lost)
        self._highest = 0
        self._begin(Header(), is_ours=False)

    def _begin(self, header: Header, *, is_ours: bool) -> None:
        """Begin a section: what was open in the one before does not go on."""
        self._streams: OrderedStreams | Reassembler
        self._lookahead: Lookahead | None = None
        if is_ours:
            self._streams = OrderedStreams()
        else:
            self._streams = reassembler = Reassembler(
                _SERVER_PORTS, dropped=self._met.dropped, silent=self._met.silent
            )
            self._lookahead = Lookahead(reassembler.knows)
        self._connections: dict[int, Connection] = {}
        self._conversations: dict[int, Conversation] = {}
        self._own: dict[object, int] = {}  # our number of a session by the file's own
        self._before = self._highest
        self._own_numbers = True  # whether all of this section have kept theirs
        self._last_time = 0
        self._named = None
        with suppress(KeyError):
            self._named = networks.get(header.network or "")
        # With one leg in the file there is nothing that stands on the other as well.
        self._by_leg = header.changes and header.legs == "both"

    def take(self, item: Packet | Section | Happened | Statistics) -> Iterator[Told]:
        """Take the next packet, or what else a format gives."""
        if isinstance(item, Packet):  # the usual case first
            yield from self._packet(item)
        elif isinstance(item, Section):
            yield from self.finish()
            self._losses.begin(item)
            header = header_of(item)
            self._begin(header, is_ours=bool(facts_in(item.custom)))
            self._met.sections += 1
            for comment in item.comments:
                self._met.comment(comment)
            yield header
        elif isinstance(item, Happened):
            self._last_time = item.event.time_ns
            self._met.time(item.event.time_ns)
            yield from self._happened(item.event, item.facts, item.whole)
        else:
            yield from self._losses.in_statistics(item)

    def _packet(self, packet: Packet) -> Iterator[Told]:
        self._met.packet(packet.time_ns)
        if packet.dropped:
            yield from self._losses.in_packet(packet)
        segment = dissect(packet, self._met.fragments, self._met.dropped)
        if segment is None:
            return
        self._met.segments += 1
        if self._lookahead is None:
            yield from self._read(packet, segment)
            return
        for each in self._lookahead.feed(packet, segment):
            yield from self._read(*each)

    def tick(self, seconds: float) -> Iterator[Told]:
        """Give what need not wait any longer: no packet has come for so many seconds."""
        if self._lookahead is not None:
            for each in self._lookahead.finish():
                yield from self._read(*each)
        for event in self._streams.tick(self._last_time + int(seconds * 1_000_000_000)):
            yield from self._happened(event, {}, True)

    def finish(self) -> Iterator[Told]:
        """Give what is left when a section ends."""
        if self._lookahead is not None:
            for each in self._lookahead.finish():
                yield from self._read(*each)
        for event in self._streams.finish():
            yield from self._happened(event, {}, True)
        for number, connection in list(self._connections.items()):
            yield from self._end(number, connection, self._last_time, OPEN)

    def _read(self, packet: Packet, segment: Segment) -> Iterator[Told]:
        self._last_time = packet.time_ns
        whole = bool(segment.flags & PSH)
        if not packet.custom and not packet.comments:
            for event in self._streams.feed(packet.time_ns, segment):
                yield from self._happened(event, _NO_FACTS, whole)
            return
        facts: Facts = facts_in(packet.custom)
        if packet.comments and self._lookahead is not None:
            facts = {"comments": list(packet.comments)}
            if not segment.payload:
                self._met.not_kept["comments of packets without data"] += len(packet.comments)
        events = self._streams.feed(
            packet.time_ns, segment, missing=facts.get("missing"), begins="leg" in facts
        )
        for event in events:
            yield from self._happened(event, facts, whole)

    def _happened(self, event: StreamEvent, facts: Facts, whole: bool) -> Iterator[Told]:
        if isinstance(event, Opened):
            yield from self._open(event, facts)
            return
        connection = self._connections.get(event.connection)
        if connection is None:
            return
        if isinstance(event, Data):
            yield from self._data(connection, event, facts, whole)
        elif isinstance(event, Gap):
            way = _way(event.from_client)
            if not goes_out(connection, way) or "missing" not in facts:  # told where it came in
                yield from self._tell(connection, connection.gap(way, event.missing, event.time_ns))
        elif isinstance(event, Closed):
            yield from self._closed(connection, event, End.from_dict(facts.get("end")))
        else:
            yield from self._end(event.connection, connection, event.time_ns, SILENT)

    def _open(self, event: Opened, facts: Facts) -> Iterator[Told]:
        leg = Leg.UPSTREAM if facts.get("leg") == Leg.UPSTREAM else Leg.CLIENT
        own, event = facts.get("session"), with_true_names(event, facts)
        if leg is Leg.UPSTREAM and not self._by_leg:  # the client leg has the same messages
            if (known := self._conversations.get(self._own.get(own, 0))) is not None:
                yield from known.connected(event.client, event.time_ns)
            return
        begun = event.begun and not facts.get("continued", False)
        event = msgspec.structs.replace(event, begun=begun)
        version = version_in(facts)
        connection = Connection(
            event,
            lambda network: self._session(network, connection, begun, version),
            network=self._asked or network_in(facts) or self._named,
            came_in=_CAME_IN[leg] if self._by_leg else None,
            upstream=facts.get("upstream"),
            room=self._room,
        )
        connection.places = position_in(facts)
        self._connections[event.connection] = connection
        if "session" not in facts:
            return
        # Ours: both legs of a session have its number.
        number = self._own.get(own) if leg is Leg.UPSTREAM else None
        if number is None:
            self._own[own] = number = self._next_session(own)
        conversation = self._join(number, connection, begun, version)
        conversation.own = own
        if connection.network is not None:
            yield from conversation.start(connection, connection.network)
        if leg is Leg.UPSTREAM:
            yield from conversation.connected(event.client, event.time_ns)

    def _join(
        self, number: int, connection: Connection, begun: bool, version: int | None
    ) -> Conversation:
        connection.number = number
        conversation = self._conversations.get(number)
        if conversation is None:
            conversation = self._conversations[number] = Conversation(number)
            conversation.begun, conversation.protocol_version = begun, version
        conversation.legs.append(connection)
        return conversation

    def _next_session(self, own: object = 0) -> int:
        """Give a session its number: its own, in a file of ours, unless that is taken."""
        self._met.sessions += 1
        wanted = own if isinstance(own, int) and own < 1 << 32 else 0
        if self._own_numbers and wanted > self._before and own not in self._own:
            self._highest = max(self._highest, wanted)
            return wanted  # sessions may begin in any order in a part of a capture
        self._own_numbers = False
        self._highest = max(self._highest + 1, wanted)
        return self._highest

    def _session(
        self, network: Network, connection: Connection, begun: bool, version: int | None
    ) -> Session:
        """Make the core that reads a connection, at its first bytes."""
        if connection.number is None:
            self._join(self._next_session(), connection, begun, version)
        assert connection.number is not None
        return Session(
            connection.number,
            network,
            numbers=itertools.repeat(0),
            stream_above=None,
            begins=begun,
            protocol_version=version,
        )

    def _data(
        self, connection: Connection, event: Data, facts: Facts, whole: bool
    ) -> Iterator[Told]:
        way, data, time_ns = _way(event.from_client), event.data, event.time_ns
        verdict = facts.get("verdict")
        if goes_out(connection, way):
            piece = connection.went_out(way, data, time_ns, whole=whole)
            if piece is None or verdict is None or connection.number is None:
                return
            if verdict == "inject":
                yield from self._tell(connection, connection.injected(way, piece, time_ns), facts)
            else:
                yield Sent((connection.number, facts.get("number")), piece)
            return
        if "comments" in facts:
            self._comment(connection, way, facts["comments"])
        deliveries = connection.data(way, data, time_ns)
        if verdict is None or not whole:
            yield from self._tell(connection, deliveries)
            self._unchecked += len(data)
            if self._unchecked > _CHECK_EVERY:
                yield from self._bound(time_ns)
            return
        # The note is about these bytes, and what comes next is no part of them.
        told = itertools.chain(deliveries, connection.flush(way, time_ns))
        yield from self._tell(connection, told, facts)

    def _bound(self, time_ns: int) -> Iterator[Told]:
        """Hold all messages that are not whole below a bound: the biggest end where they are."""
        self._unchecked = 0
        held = sum(each.held for each in self._connections.values())
        if held <= MAX_HELD:
            return
        for connection in sorted(self._connections.values(), key=lambda each: -each.held):
            held -= connection.held
            for way in Direction:
                cut = [] if goes_out(connection, way) else list(connection.flush(way, time_ns))
                if cut:
                    self._met.dropped.add(DropReason.TOO_MUCH_HELD)
                    yield from self._tell(connection, cut)
            connection.forget_outgoing()
            if held <= MAX_HELD // 2:
                return

    def _comment(self, connection: Connection, way: Direction, comments: list[object]) -> None:
        """Keep what was written on a packet for the message that its bytes complete."""
        room = MOST_COMMENTS - len(connection.comments[way])
        connection.comments[way] += map(str, comments[:room])
        self._met.not_kept["comments of packets"] += max(0, len(comments) - room)

    def _closed(
        self, connection: Connection, event: Closed, why: End | None = None
    ) -> Iterator[Told]:
        way, time_ns = _way(event.from_client), event.time_ns
        # After a reset nothing will come in the other direction either.
        for each in (way, way.other) if event.reset else (way,):
            ended = connection.end(each, time_ns, event, told=why)
            yield from self._tell(connection, (p for p in ended if not goes_out(connection, each)))
        conversation = self._conversations.get(connection.number or 0)
        if conversation is not None:
            yield from conversation.closed(connection, way, event, why)
        if connection.over:
            yield from self._forget(event.connection, connection, time_ns)

    def _end(self, number: int, connection: Connection, time_ns: int, how: End) -> Iterator[Told]:
        """End a connection that nobody closed."""
        for way in Direction:
            ended = connection.end(way, time_ns, None, how)
            yield from self._tell(connection, (p for p in ended if not goes_out(connection, way)))
        yield from self._forget(number, connection, time_ns)

    def _forget(self, number: int, connection: Connection, time_ns: int) -> Iterator[Told]:
        del self._connections[number]
        self._met.skipped += connection.unknown and connection.has_bytes
        waiting = sum(map(len, connection.comments.values()))
        self._met.not_kept["comments of packets"] += waiting
        conversation = self._conversations.get(connection.number or 0)
        if conversation is None:
            return
        yield from conversation.start(connection, None)  # if it is not known yet, it never will be
        yield from conversation.over(connection, time_ns)
        if not conversation.legs:
            del self._conversations[conversation.number]
            self._own.pop(conversation.own, None)

    def _tell(
        self, connection: Connection, deliveries: Iterable[Delivery], facts: Facts = _NOTHING
    ) -> Iterator[Told]:
        """Tell what passed, with numbers, and with what the file says became of it."""
        together: list[Delivery] = []
        conversation: Conversation | None = None
        for first in deliveries:
            if conversation is None:
                assert connection.number is not None
                assert connection.session is not None
                conversation = self._conversations[connection.number]
                yield from conversation.start(connection, connection.session.network)
                if connection.network is None:
                    self._met.assume(connection.session.network)
            way = (first.run or first.entries[0]).direction
            comments = tuple(connection.comments[way])
            connection.comments[way].clear()
            for delivery in self._judged(first, facts, comments):
                if connection.came_in is None or delivery.entries[0].verdict != "rewrite":
                    together.append(delivery)
                    continue
                yield from conversation.passed(together)
                together = []
                yield Awaits((conversation.number, facts.get("number")))
                yield from conversation.passed([delivery])
        if conversation is not None:
            yield from conversation.passed(together)

    def _judged(
        self, delivery: Delivery, facts: Facts, comments: tuple[str, ...]
    ) -> Iterator[Delivery]:
        verdict = facts.get("verdict")
        if verdict is None and delivery.run is not None and not comments:
            run = delivery.run.numbered(self._number)
            self._number += len(run)
            yield Delivery(delivery.raw, run, run=run)
            return
        changes: dict[str, Any] = {}
        if verdict is not None:
            changes = {"verdict": verdict, "trail": trail_in(facts)}
        for index, each in enumerate(delivery.entries):
            if comments:
                changes["comments"] = () if index else comments
            entry = msgspec.structs.replace(each, number=self._number, **changes)
            self._number += 1
            if verdict == "inject":
                yield Delivery(b"", (entry,), entry.raw)
            else:
                yield Delivery(entry.raw, (entry,), b"" if verdict == "drop" else None)


def _way(from_client: bool) -> Direction:
    return Direction.TO_UPSTREAM if from_client else Direction.TO_CLIENT
