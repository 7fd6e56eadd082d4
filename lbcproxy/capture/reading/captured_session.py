"""A session of a capture: its legs, and what has happened in it so far."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import msgspec

from lbcproxy.capture.events import Event, session_ended
from lbcproxy.capture.reading.captured_connection import CapturedConnection
from lbcproxy.capture.session_report import SessionReport
from lbcproxy.capture.tcp.stream_events import Closed
from lbcproxy.endpoint import Endpoint
from lbcproxy.networks import Network
from lbcproxy.session import (
    Delivery,
    Direction,
    End,
    Session,
    SessionInfo,
    Stage,
    Transports,
)
from lbcproxy.session.events import (
    Delivered,
    DirectionClosed,
    SessionEnding,
    SessionReset,
    SessionStarted,
    TransportsAgreed,
    UpstreamConnected,
)

__all__ = ["CapturedSession", "session_core"]


class CapturedSession:
    """Turns what happens on one or two connections into the events of a session."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.own_number: object = None
        """The number that the file gives it, if the file is one of ours."""
        self.info: SessionInfo | None = None
        """Its endpoints, once its network is known."""
        self.legs: list[CapturedConnection] = []
        """The legs that are open."""
        self.begun = True
        self.protocol_version: int | None = None
        self._transports: Transports | None = None
        """How its legs carry messages, once that is known and not both are v1."""
        self._is_ending = False
        self._finished: set[Direction] = set()
        self._reset: tuple[Direction, int] | None = None
        self._report: SessionReport | None = None

    @property
    def is_connected(self) -> bool:
        """Whether the upstream leg has been reported."""
        return self.info is not None and self.info.local is not None

    def start(self, connection: CapturedConnection, network: Network | None) -> Iterator[Event]:
        """Report that it started, the first time that this is called."""
        if self.info is None:
            self.info = connection.session_info(self.number, network)
            opened = connection.opened
            yield SessionStarted(self.info, opened.time_ns, self.begun, self.protocol_version)
            if self._transports is not None:
                yield from self._agreed(self._transports, opened.time_ns)

    def begin(self, connection: CapturedConnection, time_ns: int) -> Iterator[Event]:
        """Report what is known of it by now: that it started, and what it was decrypted from."""
        core, transport = connection.session, connection.transport
        yield from self.start(connection, None if core is None else core.network)
        if transport is not None:
            yield from self.transports_agreed(Transports(transport, transport), time_ns)

    def connected(self, local: Endpoint, time_ns: int) -> Iterator[Event]:
        """Report that the upstream leg is connected."""
        if self.info is not None:
            self.info = msgspec.structs.replace(self.info, local=local)
            yield UpstreamConnected(self.info, time_ns)

    def transports_agreed(self, transports: Transports, time_ns: int) -> Iterator[Event]:
        """Report how its legs carry messages, unless that is known: files say it again."""
        if transports != self._transports:
            self._transports = transports
            if self.info is not None:
                yield from self._agreed(transports, time_ns)

    def _agreed(self, transports: Transports, time_ns: int) -> Iterator[Event]:
        assert self.info is not None
        self.info = self.info.with_transports(transports)
        yield TransportsAgreed(self.info, time_ns)

    def passed(self, deliveries: Sequence[Delivery]) -> Iterator[Event]:
        """Report what passed, with the direction and time of its entries."""
        assert self.info is not None
        if len(deliveries) == 1:  # the usual case, without what groups cost
            direction, time_ns = _direction_and_time(deliveries[0])
            yield Delivered(self.info, direction, tuple(deliveries), time_ns)
            return
        for (direction, time_ns), group in itertools.groupby(deliveries, _direction_and_time):
            yield Delivered(self.info, direction, tuple(group), time_ns)

    def closed(
        self,
        connection: CapturedConnection,
        direction: Direction,
        closed: Closed,
        stated: End | None = None,
    ) -> Iterator[Event]:
        """Record that a direction of a leg was closed, and report it if the session's was.

        `stated` is the end of the session that the capture itself states, if it does.
        """
        if stated is not None and not self._is_ending and self.info is not None:
            self._is_ending = True
            yield SessionEnding(self.info, stated, closed.time_ns)
        if closed.reset:
            self._reset = self._reset or (direction, closed.time_ns)
            return
        if connection.received not in (None, direction) and any(
            each.received is direction for each in self.legs
        ):
            return  # the leg that received this direction reports its end
        if direction not in self._finished and self.info is not None:
            self._finished.add(direction)
            yield DirectionClosed(self.info, direction, closed.time_ns)

    def leg_ended(self, connection: CapturedConnection, time_ns: int) -> Iterator[Event]:
        """Record that a leg has ended, and report the end of the session if it was the last."""
        self.legs.remove(connection)
        report = connection.report(self.number)
        if self._report is not None:
            is_client_leg = connection.received is Direction.TO_UPSTREAM
            legs = (report, self._report) if is_client_leg else (self._report, report)
            report = _combined(*legs)
        self._report = report
        if self.legs or self.info is None:
            return
        if self._reset is not None:
            yield SessionReset(self.info, *self._reset)
        closed = self._reset is not None or len(self._finished) == len(Direction)
        report = msgspec.structs.replace(report, transports=self.info.transports)
        yield session_ended(self.info, report, closed, time_ns)


def _direction_and_time(delivery: Delivery) -> tuple[Direction, int]:
    """Return direction and time; the entries of a run are not made for this."""
    first = delivery.run or delivery.entries[0]
    return first.direction, first.time_ns


def _combined(client: SessionReport, upstream: SessionReport) -> SessionReport:
    """Combine the reports on two legs: for each node, what was received from it."""
    sides = client.to_upstream, upstream.to_client
    if not all(side.stage is Stage.READY for side in sides):
        # Each leg may have had a handshake of its own; the report is about that of the nodes.
        sides = client.to_upstream.not_ready(), upstream.to_client.not_ready()
    return msgspec.structs.replace(
        client,
        server=upstream.server,
        ended_ns=max(client.ended_ns, upstream.ended_ns),
        missing=client.missing + upstream.missing,
        to_upstream=sides[0],
        to_client=sides[1],
    )


def session_core(number: int, network: Network, begun: bool, version: int | None) -> Session:
    """Return the session core that reads a connection; entries are numbered later."""
    return Session(
        number,
        network,
        numbers=itertools.repeat(0),
        stream_above=None,
        at_stream_start=begun,
        protocol_version=version,
    )
