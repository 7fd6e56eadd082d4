"""One pass over a file that is one of several: what is open at its end may continue in another."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import msgspec

from lbcproxy.capture.events import SectionHeader
from lbcproxy.capture.packet import Leg, Packet, Segment
from lbcproxy.capture.reading.annotations import (
    Annotations,
    StreamOffsets,
    network_of,
    with_host_names,
)
from lbcproxy.capture.reading.assembler import Assembler, AssemblerEvent
from lbcproxy.capture.reading.captured_connection import CapturedConnection
from lbcproxy.capture.reading.captured_session import CapturedSession
from lbcproxy.capture.reading.parts import OpenSession, Part
from lbcproxy.capture.reading.read_stats import ReadStats
from lbcproxy.capture.tcp.stream_events import Opened, StreamEvent
from lbcproxy.networks import Network
from lbcproxy.session import Direction
from lbcproxy.session.entry import UNKNOWN_SIZE

__all__ = ["PartAssembler"]


class PartAssembler(Assembler):
    """Assembles one part: its sessions have numbers unique in all parts, and may continue there."""

    def __init__(self, stats: ReadStats, network: Network | None, part: Part) -> None:
        self._part = part
        # Connections that only another part opened have negative numbers.
        self._reopened = itertools.count(1)
        super().__init__(stats, network)

    def _begin(self, header: SectionHeader, *, is_ours: bool) -> None:
        super()._begin(header, is_ours=is_ours)
        self._proxy = header.metadata.get("name")
        self._part.release()

    @property
    def is_open(self) -> bool:
        """Whether a connection is open."""
        return bool(self._connections)

    def leave(self) -> Iterator[AssemblerEvent]:
        """Return what is left at the end of a file whose connections may continue in another."""
        if self._lookahead is None:
            # Each part of ours has sequence numbers of its own, and nothing waits in them.
            self._streams.finish()
        else:
            yield from self._all_of(self._lookahead.finish())
        ends, sessions = self._streams.open_ends(), self._open_sessions()
        self._part.release()
        yield from self._part.parts.keep(self, ends, sessions)

    def resume(
        self, event: StreamEvent, annotations: Annotations, complete: bool
    ) -> Iterator[AssemblerEvent]:
        """Accept what another part holds of a connection of this one."""
        self._last_time = event.time_ns
        yield from self._happened(event, annotations, complete)

    def reopen(
        self, session: CapturedSession, leg: Leg, event: Opened, annotations: Annotations
    ) -> tuple[int, Iterator[AssemblerEvent]]:
        """Return the number of a session's leg that another part opens again, and its events."""
        for number, connection in self._connections.items():
            if connection.number == session.number and _is_of(connection, leg):
                return number, iter(())
        number = -next(self._reopened)
        if leg is Leg.UPSTREAM and session.is_connected:
            return number, iter(())  # it has the same bytes as the client leg
        event = msgspec.structs.replace(event, connection=number)
        return number, self.resume(event, annotations, True)

    def fill(
        self, number: int, offsets: StreamOffsets | None, time_ns: int
    ) -> Iterator[AssemblerEvent]:
        """Report what is missing of a connection between two parts.

        The second part begins at `offsets`; None if these are not known.
        """
        connection = self._connections.get(number)
        if connection is None:
            return
        for direction in Direction:
            missing = UNKNOWN_SIZE
            if offsets is not None:
                missing = max(0, offsets[direction] - connection.offsets[direction])
            # The leg that received the direction reports its gaps.
            if missing and not connection.is_outgoing(direction):
                gap = connection.gap(direction, missing, time_ns)
                yield from self._delivered.of(connection, gap)

    def _open_sessions(self) -> list[OpenSession]:
        found, path = [], self._part.path
        for session in self._sessions.values():
            for leg in session.legs:
                if session.own_number is None or not _is_of(leg, Leg.CLIENT):
                    continue
                key = self._key(session.own_number, leg.opened, leg.upstream, leg.network)
                client = leg.opened.client
                found.append(OpenSession(key, client, self._proxy, self, session, path))
        return found

    def _key(
        self, own: object, opened: Opened, upstream: str | None, network: Network | None
    ) -> tuple[object, ...]:
        """Return what all parts say about a session; they may name different hosts for a client."""
        return own, opened.client.port, opened.server, upstream, network, self._by_leg

    def segment(self, packet: Packet, segment: Segment) -> Iterable[AssemblerEvent]:
        """Accept a segment, or hand it to the part that has its connection open."""
        is_ours = self._lookahead is None
        if not (is_ours or self._streams.has(segment)):
            other = self._part.parts.with_connection(segment)
            if other is not None and other is not self:
                return other.segment(packet, segment)
        return super().segment(packet, segment)

    def _happened(
        self, event: StreamEvent, annotations: Annotations, complete: bool
    ) -> Iterable[AssemblerEvent]:
        if not isinstance(event, Opened) and self._part.is_continued(event):
            return self._part.happened(event, annotations, complete)
        return super()._happened(event, annotations, complete)

    def _open(self, event: Opened, annotations: Annotations) -> Iterator[AssemblerEvent]:
        leg = Leg.UPSTREAM if annotations.get("leg") == Leg.UPSTREAM else Leg.CLIENT
        named, network = with_host_names(event, annotations), network_of(annotations)
        key = self._key(
            annotations.get("session"),
            named,
            annotations.get("upstream"),
            self._chosen_network or network or self._section_network,
        )
        continued = self._part.opened(named, leg, annotations, key, self._proxy)
        yield from super()._open(event, annotations) if continued is None else continued

    def _next_session(self, own: object = 0) -> int:
        return self._part.parts.number(self._part.path, super()._next_session(own))


def _is_of(connection: CapturedConnection, leg: Leg) -> bool:
    return (connection.received is Direction.TO_CLIENT) is (leg is Leg.UPSTREAM)
