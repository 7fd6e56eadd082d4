"""One pass over a file that is one of several: what is open at its end may go on in another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import msgspec

from lbcproxy.capture.events import Header
from lbcproxy.capture.ip.synthetic import with_true_names
from lbcproxy.capture.packet import Leg, Packet, Segment
from lbcproxy.capture.reading.assembler import Reading, Told
from lbcproxy.capture.reading.connection import Connection, goes_out
from lbcproxy.capture.reading.conversation import Conversation
from lbcproxy.capture.reading.facts import Facts, Position, network_in
from lbcproxy.capture.reading.parts import OpenSession, Part
from lbcproxy.capture.reading.read_stats import Met
from lbcproxy.capture.tcp.stream_events import Opened, StreamEvent
from lbcproxy.networks import Network
from lbcproxy.session import Direction
from lbcproxy.session.entry import UNKNOWN_SIZE

__all__ = ["PartReading"]


class PartReading(Reading):
    """A reading of a part: its sessions have numbers over all parts, and may go on in another."""

    def __init__(self, met: Met, network: Network | None, part: Part) -> None:
        self._part = part
        self._more = itertools.count(1)  # connections that only another part opened
        super().__init__(met, network)

    def _begin(self, header: Header, *, is_ours: bool) -> None:
        super()._begin(header, is_ours=is_ours)
        self._proxy = header.metadata.get("name")
        self._part.release()

    @property
    def is_open(self) -> bool:
        """Whether a connection is open."""
        return bool(self._connections)

    def leave(self) -> Iterator[Told]:
        """Give what is left when a file ends whose connections may go on in another."""
        if self._lookahead is None:  # each part of ours has sequence numbers of its own
            for event in self._streams.finish():
                yield from self._happened(event, {}, True)
        else:
            for each in self._lookahead.finish():
                yield from self._read(*each)
        ends, sessions = self._streams.open_ends(), self._open_sessions()
        self._part.release()
        yield from self._part.parts.keep(self, ends, sessions)

    def go_on(self, event: StreamEvent, facts: Facts, whole: bool) -> Iterator[Told]:
        """Take what another part holds of a connection of this one."""
        self._last_time = event.time_ns
        yield from self._happened(event, facts, whole)

    def reopen(
        self, conversation: Conversation, leg: Leg, event: Opened, facts: Facts
    ) -> tuple[int, Iterator[Told]]:
        """Give the connection that a leg of a session has, which another part opens again."""
        for number, connection in self._connections.items():
            if connection.number == conversation.number and _is_of(connection, leg):
                return number, iter(())
        number = -next(self._more)
        if leg is Leg.UPSTREAM and conversation.is_connected:
            return number, iter(())  # the same bytes again
        return number, self.go_on(msgspec.structs.replace(event, connection=number), facts, True)

    def fill(self, number: int, position: Position | None, time_ns: int) -> Iterator[Told]:
        """Tell what is missing between two parts of a connection, the second from a place on.

        None for a place that is not known.
        """
        connection = self._connections.get(number)
        if connection is None:
            return
        for way in Direction:
            missing = UNKNOWN_SIZE
            if position is not None:
                missing = max(0, position[way] - connection.places[way])
            if missing and not goes_out(connection, way):  # it is told where it came in
                yield from self._tell(connection, connection.gap(way, missing, time_ns))

    def _open_sessions(self) -> list[OpenSession]:
        found, path = [], self._part.path
        for conversation in self._conversations.values():
            for leg in conversation.legs:
                if conversation.own is None or not _is_of(leg, Leg.CLIENT):
                    continue
                key = self._key(conversation.own, leg.opened, leg.upstream, leg.network)
                client = leg.opened.client
                found.append(OpenSession(key, client, self._proxy, self, conversation, path))
        return found

    def _key(
        self, own: object, opened: Opened, upstream: str | None, network: Network | None
    ) -> tuple[object, ...]:
        """Give what all parts say of a session; of its client they may say different hosts."""
        return own, opened.client.port, opened.server, upstream, network, self._by_leg

    def _read(self, packet: Packet, segment: Segment) -> Iterator[Told]:
        """Read a packet, or have it read by the part that has its connection open."""
        is_ours = self._lookahead is None
        if not (is_ours or self._streams.has(segment)):
            other = self._part.parts.with_connection(segment)
            if other is not None and other is not self:
                yield from other._read(packet, segment)
                return
        yield from super()._read(packet, segment)

    def _happened(self, event: StreamEvent, facts: Facts, whole: bool) -> Iterator[Told]:
        if not isinstance(event, Opened) and self._part.goes_on(event):
            yield from self._part.happened(event, facts, whole)
        else:
            yield from super()._happened(event, facts, whole)

    def _open(self, event: Opened, facts: Facts) -> Iterator[Told]:
        leg = Leg.UPSTREAM if facts.get("leg") == Leg.UPSTREAM else Leg.CLIENT
        named, network = with_true_names(event, facts), network_in(facts)
        key = self._key(
            facts.get("session"),
            named,
            facts.get("upstream"),
            self._asked or network or self._named,
        )
        goes_on = self._part.opened(named, leg, facts, key, self._proxy)
        yield from super()._open(event, facts) if goes_on is None else goes_on

    def _next_session(self, own: object = 0) -> int:
        return self._part.parts.number(self._part.path, super()._next_session(own))


def _is_of(connection: Connection, leg: Leg) -> bool:
    return (connection.came_in is Direction.TO_CLIENT) is (leg is Leg.UPSTREAM)
