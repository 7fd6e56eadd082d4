"""A session of a capture: its legs, and how far it has come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

import msgspec

from lbcproxy.capture.events import (
    Connected,
    Ended,
    Ending,
    Event,
    Finished,
    Passed,
    Reset,
    Started,
)
from lbcproxy.capture.reading.connection import Connection
from lbcproxy.capture.reading.read_stats import SessionReport
from lbcproxy.capture.tcp.stream_events import Closed
from lbcproxy.endpoint import Endpoint
from lbcproxy.networks import Network
from lbcproxy.session import Delivery, Direction, End, SessionInfo, Stage

__all__ = ["Conversation"]


class Conversation:
    """Turns what happens on one or two connections into what happened in a session."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.own: object = None
        """What the file calls it, if that is one of ours."""
        self.facts: SessionInfo | None = None
        """Between whom it is, once its network is known."""
        self.legs: list[Connection] = []
        """Those that are open."""
        self.begun = True
        self.protocol_version: int | None = None
        self._ending = False
        self._finished: set[Direction] = set()
        self._reset: tuple[Direction, int] | None = None
        self._report: SessionReport | None = None

    @property
    def is_connected(self) -> bool:
        """Whether the upstream leg has been told of."""
        return self.facts is not None and self.facts.local is not None

    def start(self, connection: Connection, network: Network | None) -> Iterator[Event]:
        """Say that it began, the first time that its network is known."""
        if self.facts is None:
            self.facts = connection.facts(self.number, network)
            opened = connection.opened
            yield Started(self.facts, opened.time_ns, self.begun, self.protocol_version)

    def connected(self, local: Endpoint, time_ns: int) -> Iterator[Event]:
        """Say that the upstream leg is there."""
        if self.facts is not None:
            self.facts = msgspec.structs.replace(self.facts, local=local)
            yield Connected(self.facts, time_ns)

    def passed(self, deliveries: Iterable[Delivery]) -> Iterator[Event]:
        """Say that something passed, in the direction and at the time that its entries have."""
        assert self.facts is not None
        for (direction, time_ns), group in groupby(deliveries, _when):
            yield Passed(self.facts, direction, tuple(group), time_ns)

    def closed(
        self,
        connection: Connection,
        direction: Direction,
        closed: Closed,
        told: End | None = None,
    ) -> Iterator[Event]:
        """Take note that a leg's direction was closed, and say it if the session's was.

        `told` is why, where the capture says so.
        """
        if told is not None and not self._ending and self.facts is not None:
            self._ending = True
            yield Ending(self.facts, told, closed.time_ns)
        if closed.reset:
            self._reset = self._reset or (direction, closed.time_ns)
            return
        if connection.came_in not in (None, direction) and any(
            each.came_in is direction for each in self.legs
        ):
            return  # what went on of an end that is told where it came in
        if direction not in self._finished and self.facts is not None:
            self._finished.add(direction)
            yield Finished(self.facts, direction, closed.time_ns)

    def over(self, connection: Connection, time_ns: int) -> Iterator[Event]:
        """Take note that a leg is over, and say it if all are."""
        self.legs.remove(connection)
        report = connection.report(self.number)
        if self._report is not None:
            client_leg = connection.came_in is Direction.TO_UPSTREAM
            legs = (report, self._report) if client_leg else (self._report, report)
            report = _of_both_legs(*legs)
        self._report = report
        if self.legs or self.facts is None:
            return
        if self._reset is not None:
            yield Reset(self.facts, *self._reset)
        closed = self._reset is not None or len(self._finished) == len(Direction)
        yield Ended(self.facts, report, closed, time_ns)


def _when(delivery: Delivery) -> tuple[Direction, int]:
    """Tell direction and time, of a run without making its entries."""
    what = delivery.run or delivery.entries[0]
    return what.direction, what.time_ns


def _of_both_legs(client: SessionReport, upstream: SessionReport) -> SessionReport:
    """Put the reports of two legs together: of each node what came in from it."""
    sides = client.to_upstream, upstream.to_client
    if not all(side.stage is Stage.READY for side in sides):
        # Each leg may have had a handshake of its own; here it is about that of the nodes.
        sides = client.to_upstream.not_ready(), upstream.to_client.not_ready()
    return msgspec.structs.replace(
        client,
        server=upstream.server,
        ended_ns=max(client.ended_ns, upstream.ended_ns),
        missing=client.missing + upstream.missing,
        to_upstream=sides[0],
        to_client=sides[1],
    )
