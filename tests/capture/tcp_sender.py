"""The half of an end of TCP that sends: connections, bytes, timers."""

from __future__ import annotations

import random
from typing import Protocol

from lbcproxy.capture.packet import ACK, FIN, PSH, RST, SYN
from tests.capture.tcp_states import (
    MAX_TRIES,
    RETRANSMIT_NS,
    State,
)
from tests.capture.tcp_truth import WRAP, Connection


class Wire(Protocol):
    """What an end needs of the world."""

    now: int
    chance: random.Random

    def transmit(self, end: Sender, segment: tuple[int, int, int, bytes, int, int | None]) -> None:
        """Send a segment: sequence, acknowledgment, flags, payload, window, window scale."""

    def timer(self, delay: int, end: Sender, kind: str, generation: int) -> None:
        """Call `end.expire(kind, generation)` after a while."""


class Sender:
    """One host's side of one pair of addresses, but for what it does with segments."""

    def __init__(
        self, wire: Wire, side: int, *, listens: bool, mss: int, window: int, scale: int | None
    ) -> None:
        self.wire, self.side, self.mss = wire, side, mss
        self.rest = State.LISTEN if listens else State.CLOSED
        self.state = self.rest
        self.capacity, self.offered_scale = window, scale
        self.connection: Connection | None = None
        self.generation = 0
        self.iss = self.una = self.nxt = self.peer_window = 0
        self.rcv_nxt = self.irs = 0
        self.scale = self.peer_scale = 0
        self.peer_offered: int | None = None
        self.queue: dict[int, bytes] = {}
        self.fin_at: int | None = None
        self.closing = False
        self.unacknowledged = 0
        self.tries = 0
        self.until = self.answered = 0

    # What the application does.

    def connect(self, connection: Connection, iss: int) -> None:
        """Begin a connection."""
        self._begin(connection, iss, State.SYN_SENT)
        self._send(iss, SYN)
        self._arm()

    def write(self, data: bytes) -> None:
        """Send bytes, at once or as soon as there is room."""
        assert self.connection is not None
        self.connection.sent[self.side].extend(data)
        self._push()

    def close(self) -> None:
        """Send FIN after all bytes."""
        self.closing = True
        self._push()

    def abort(self) -> None:
        """Send RST, unless nothing was heard of the other end yet."""
        if self.state not in (State.SYN_SENT, State.CLOSED, State.LISTEN, State.TIME_WAIT):
            self._send(self.nxt, RST | ACK)
        self.vanish()

    def vanish(self) -> None:
        """Forget the connection without a word, as a host does that is restarted."""
        if self.connection is not None and State.LISTEN < self.state < State.TIME_WAIT:
            self.connection.broken = True
        self._rest()

    def keep_alive(self) -> None:
        """Ask whether the other end is there, if all was acknowledged (RFC 9293, 3.8.4)."""
        if self.state in (State.ESTABLISHED, State.CLOSE_WAIT) and self.una == self.nxt:
            assert self.connection is not None
            last = bytes(self.connection.sent[self.side][-1:])
            self._send(self.nxt - 1, ACK, self.wire.chance.choice((b"", last)))

    def may_write(self) -> bool:
        """Whether the application may still send."""
        states = (State.SYN_SENT, State.SYN_RECEIVED, State.ESTABLISHED, State.CLOSE_WAIT)
        return self.state in states and not self.closing

    def is_free(self) -> bool:
        """Whether a connection may begin here."""
        if self.state == State.TIME_WAIT and self.wire.now >= self.until:
            self._rest()
        return self.state in (State.CLOSED, State.LISTEN, State.TIME_WAIT)

    # How an end sends.

    def _begin(self, connection: Connection, iss: int, state: int) -> None:
        self.connection, self.state = connection, state
        connection.initial[self.side] = iss % WRAP
        self.iss = self.una = iss
        self.nxt = iss + 1
        self.queue, self.fin_at, self.closing = {}, None, False
        self.unacknowledged, self.peer_window = 0, 0
        self.scale = self.peer_scale = 0

    def _rest(self) -> None:
        self.state = self.rest
        self.generation += 1
        self.queue = {}

    def _send(self, sequence: int, flags: int, payload: bytes = b"") -> None:
        window, scale = min(self.capacity >> self.scale, 0xFFFF), None
        if flags & SYN:
            window = min(self.capacity, 0xFFFF)
            if not flags & ACK or self.peer_offered is not None:
                scale = self.offered_scale
        acknowledgment = self.rcv_nxt if flags & ACK else 0
        if flags & ACK:
            self.unacknowledged = 0
        self.wire.transmit(self, (sequence, acknowledgment, flags, payload, window, scale))

    def _arm(self) -> None:
        self.tries = 0
        self.generation += 1
        self.wire.timer(RETRANSMIT_NS, self, "retransmit", self.generation)

    def expire(self, kind: str, generation: int) -> None:
        """Do what a timer was set for, unless it was set anew."""
        if kind == "acknowledge":
            if (
                self.unacknowledged
                and self.state > State.SYN_RECEIVED
                and self.state != State.TIME_WAIT
            ):
                self._send(self.nxt, ACK)
        elif generation == self.generation and self.una < self.nxt and self.state > State.LISTEN:
            self.tries += 1
            if self.tries > MAX_TRIES:
                self.vanish()
                return
            self._retransmit()
            self.wire.timer(
                RETRANSMIT_NS << min(self.tries, 3), self, "retransmit", self.generation
            )

    def _retransmit(self) -> None:
        if self.state in (State.SYN_SENT, State.SYN_RECEIVED):
            self._send(self.iss, SYN | (ACK if self.state == State.SYN_RECEIVED else 0))
            return
        assert self.connection is not None
        out = self.connection.sent[self.side]
        place = self.una - self.iss - 1
        # Segments are cut anew when they are sent again.
        size = self.wire.chance.choice((self.mss, self.mss, self.mss // 2 + 1, 2 * self.mss))
        size = min(size, self.nxt - self.una, len(out) - place)
        fin = place + size == len(out) and self.nxt > self.una + size
        self._send(self.una, ACK | (FIN if fin else 0), bytes(out[place : place + size]))

    def _push(self) -> None:
        """Send what may be sent, and FIN after the last byte."""
        if self.state not in (State.ESTABLISHED, State.CLOSE_WAIT):
            return
        assert self.connection is not None
        out = self.connection.sent[self.side]
        idle = self.una == self.nxt
        while True:
            place = self.nxt - self.iss - 1
            left = len(out) - place
            size = max(min(left, self.mss, self.una + self.peer_window - self.nxt), 0)
            fin = self.closing and size == left
            if not size and not fin:
                break
            flags = ACK | (PSH if size == left else 0) | (FIN if fin else 0)
            at = self.nxt
            self.nxt += size + fin
            self._send(at, flags, bytes(out[place : place + size]))
            if fin:
                self.connection.closed[self.side] = True
                self.state = State.FIN_WAIT_1 if self.state == State.ESTABLISHED else State.LAST_ACK
                break
        if idle and self.una < self.nxt:
            self._arm()
