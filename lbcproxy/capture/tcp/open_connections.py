"""The open connections of a capture, and the bounds of what they buffer."""

from __future__ import annotations

from lbcproxy.capture.dropped import Dropped, DropReason
from lbcproxy.capture.tcp.connection import TcpConnection
from lbcproxy.capture.tcp.delivery import Moment
from lbcproxy.capture.tcp.silent import SilentConnections
from lbcproxy.capture.tcp.stream_events import Forgotten, StreamEvent
from lbcproxy.endpoint import Endpoint

__all__ = ["MAX_COST", "SWEEP_NS", "OpenConnections"]

MAX_COST = 64 * 2**20
"""Bytes that all connections together may buffer."""
_MAX_KEPT = 32 * 2**20
"""Bytes that all connections together keep to compare repetitions with."""
_MAX_KEPT_EACH = 32 * 2**10
# Closed connections whose late repetitions are still recognised.
_MAX_REMEMBERED = 256
_MAX_OPEN = 16_384
SWEEP_NS = 1_000_000_000

Key = tuple[Endpoint, Endpoint]


class OpenConnections:
    """Connections by their ends: the open ones, and some that have ended."""

    def __init__(
        self, dropped: Dropped | None, silent: SilentConnections | None, max_cost: int
    ) -> None:
        self.dropped = Dropped() if dropped is None else dropped
        self.silent = SilentConnections() if silent is None else silent
        self._max_cost = max_cost
        self._moment = Moment()
        self._swept_ns = 0
        # By source and target, for both directions.
        self._connections: dict[Key, TcpConnection] = {}
        self._open: dict[int, TcpConnection] = {}
        self._waiting: dict[int, TcpConnection] = {}
        self._cost = 0
        # In the order in which they ended, for the oldest to be forgotten.
        self._remembered: dict[int, TcpConnection] = {}
        self._keep()

    def _succeed(self, old: TcpConnection, events: list[StreamEvent]) -> TcpConnection:
        """Open the connection that has started on the ports of another without a SYN."""
        raise NotImplementedError

    def _drop_pending(self, connection: TcpConnection) -> None:
        if connection.pending is not None:
            connection.pending = None
            connection.drop(DropReason.IGNORED_SYN)

    def _look_after(self, connection: TcpConnection, events: list[StreamEvent]) -> None:
        """Update the bookkeeping of a connection after an event."""
        number = connection.number
        if connection.successor:
            self._succeed(connection, events)
        if connection.over and self._open.pop(number, None) is not None:
            self._count_silence(connection)
            for half in connection.halves:
                half.clear()
            self._remembered[number] = connection
            if len(self._remembered) > _MAX_REMEMBERED:
                self._unlink(self._remembered.pop(next(iter(self._remembered))))
        self._cost += connection.cost - connection.counted
        connection.counted = connection.cost
        if connection.waits:
            self._waiting[number] = connection
            self._bound(events)
        else:
            self._waiting.pop(number, None)

    def _unlink(self, connection: TcpConnection) -> None:
        client, server = connection.key
        if self._connections.get(connection.key) is connection:
            del self._connections[client, server]
            self._connections.pop((server, client), None)

    def _count_silence(self, connection: TcpConnection) -> None:
        silence = connection.silence
        if silence is not None:
            self.silent.add(connection.key[1], silence)

    # Bounds

    def _sweep(self, events: list[StreamEvent]) -> None:
        """Process what need not wait any longer, on all connections."""
        self._swept_ns = self._moment.time_ns
        for connection in list(self._waiting.values()):
            for half in connection.halves:
                if not connection.over:
                    connection.advance(half, events)
            self._look_after(connection, events)

    def _bound(self, events: list[StreamEvent]) -> None:
        """If too much is buffered, give up what the largest connections wait for."""
        if self._cost <= self._max_cost:
            return
        for connection in sorted(self._waiting.values(), key=lambda each: -each.cost):
            connection.relieve(events)
            self._look_after(connection, events)
            if self._cost <= self._max_cost // 2:
                return

    def _make_room(self, events: list[StreamEvent]) -> None:
        """If too many are open, forget the half of them that has been silent longest."""
        if len(self._open) < _MAX_OPEN:
            return
        for connection in sorted(self._open.values(), key=lambda each: each.last)[: _MAX_OPEN // 2]:
            self._drop_pending(connection)
            connection.flush(events)
            self._look_after(connection, events)
            if self._open.pop(connection.number, None) is not None and not connection.over:
                connection.over = True
                self._count_silence(connection)
                events.append(Forgotten(connection.number, self._moment.time_ns))
            self._unlink(connection)

    def _keep(self) -> None:
        directions = max(2 * len(self._open), 1)
        self._moment.keep = min(_MAX_KEPT_EACH, _MAX_KEPT // directions)
