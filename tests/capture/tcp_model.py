"""A model of the two ends of TCP connections, as RFC 9293 and RFC 5961 have them.

An `End` is what one host keeps for one pair of addresses: connections come on it one after the
other. It decides by the states of RFC 9293 (3.10.7) what it takes, so what its application got is
the truth that a reader of captures is held against. It knows nothing of how segments travel: it
sends by `Wire.transmit`, and the wire calls `receive`.

Not modelled: simultaneous opens, urgent data, windows that shrink, congestion control, selective
acknowledgments, timestamps. Sequence numbers in here do not wrap; on the wire they do.
"""

from __future__ import annotations

import random
from typing import Protocol

from lbcproxy.capture.packet import ACK, FIN, PSH, RST, SYN, Segment
from tests.capture.tcp_truth import MS, SECOND, WRAP, Connection, signed

TIME_WAIT_NS = 60 * SECOND
RETRANSMIT_NS = 300 * MS
DELAYED_ACK_NS = 40 * MS
CHALLENGE_NS = 500 * MS
MAX_TRIES = 7

CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED, ESTABLISHED, FIN_WAIT_1 = range(6)
FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK, TIME_WAIT = range(6, 11)

LINUX_STEP = 65_537
"""How far above the old numbers Linux begins a connection that follows one in TIME-WAIT."""


class Wire(Protocol):
    """What an end needs of the world."""

    now: int
    chance: random.Random

    def transmit(self, end: End, segment: tuple[int, int, int, bytes, int, int | None]) -> None:
        """Send a segment: sequence, acknowledgment, flags, payload, window, window scale."""

    def timer(self, delay: int, end: End, kind: str, generation: int) -> None:
        """Call `end.expire(kind, generation)` after a while."""


class End:
    """One host's side of one pair of addresses."""

    def __init__(
        self, wire: Wire, side: int, *, listens: bool, mss: int, window: int, scale: int | None
    ) -> None:
        self.wire, self.side, self.mss = wire, side, mss
        self.rest = LISTEN if listens else CLOSED
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
        self._begin(connection, iss, SYN_SENT)
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
        if self.state not in (SYN_SENT, CLOSED, LISTEN, TIME_WAIT):
            self._send(self.nxt, RST | ACK)
        self.vanish()

    def vanish(self) -> None:
        """Forget the connection without a word, as a host does that is restarted."""
        if self.connection is not None and LISTEN < self.state < TIME_WAIT:
            self.connection.broken = True
        self._rest()

    def keep_alive(self) -> None:
        """Ask whether the other end is there, if all was acknowledged (RFC 9293, 3.8.4)."""
        if self.state in (ESTABLISHED, CLOSE_WAIT) and self.una == self.nxt:
            assert self.connection is not None
            last = bytes(self.connection.sent[self.side][-1:])
            self._send(self.nxt - 1, ACK, self.wire.chance.choice((b"", last)))

    def may_write(self) -> bool:
        """Whether the application may still send."""
        states = (SYN_SENT, SYN_RECEIVED, ESTABLISHED, CLOSE_WAIT)
        return self.state in states and not self.closing

    def is_free(self) -> bool:
        """Whether a connection may begin here."""
        if self.state == TIME_WAIT and self.wire.now >= self.until:
            self._rest()
        return self.state in (CLOSED, LISTEN, TIME_WAIT)

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
            if self.unacknowledged and self.state > SYN_RECEIVED and self.state != TIME_WAIT:
                self._send(self.nxt, ACK)
        elif generation == self.generation and self.una < self.nxt and self.state > LISTEN:
            self.tries += 1
            if self.tries > MAX_TRIES:
                self.vanish()
                return
            self._retransmit()
            self.wire.timer(
                RETRANSMIT_NS << min(self.tries, 3), self, "retransmit", self.generation
            )

    def _retransmit(self) -> None:
        if self.state in (SYN_SENT, SYN_RECEIVED):
            self._send(self.iss, SYN | (ACK if self.state == SYN_RECEIVED else 0))
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
        if self.state not in (ESTABLISHED, CLOSE_WAIT):
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
                self.state = FIN_WAIT_1 if self.state == ESTABLISHED else LAST_ACK
                break
        if idle and self.una < self.nxt:
            self._arm()

    # What an end does with a segment.

    def receive(self, segment: Segment, of: Connection | None) -> None:
        """Take a segment, `of` a connection, or of none if somebody forged it."""
        if self.state == TIME_WAIT and self.wire.now >= self.until:
            self._rest()
        if self.state == CLOSED:
            self._refuse(segment, of)
        elif self.state == LISTEN:
            self._listen(segment, of)
        elif self.state == SYN_SENT:
            self._receive_answer(segment, of)
        else:
            self._receive(segment, of)

    def _refuse(self, segment: Segment, of: Connection | None) -> None:
        """Answer what belongs to no connection (RFC 9293, 3.10.7.1)."""
        if segment.flags & RST:
            return
        self.connection = of
        if segment.flags & ACK:
            self._send(segment.acknowledgment, RST)
            return
        length = len(segment.payload) + bool(segment.flags & SYN) + bool(segment.flags & FIN)
        self.rcv_nxt = segment.sequence + length
        self._send(0, RST | ACK)

    def _listen(self, segment: Segment, of: Connection | None) -> None:
        if segment.flags & RST:
            return
        if segment.flags & ACK:
            self._refuse(segment, of)
        elif segment.flags & SYN and of is not None:
            self._accept(segment, of, self.wire.chance.getrandbits(32))

    def _accept(self, segment: Segment, of: Connection, iss: int) -> None:
        if of.initial[self.side] is not None:  # a late repetition, of a connection that was
            of = Connection(-1)
            of.initial[1 - self.side] = segment.sequence
        self._begin(of, iss, SYN_RECEIVED)
        self._learn(segment)
        self._send(self.iss, SYN | ACK)
        self._arm()

    def _learn(self, segment: Segment) -> None:
        """Take the other side's number and window from its SYN."""
        self.irs = segment.sequence
        self.rcv_nxt = self.irs + 1
        self.peer_offered = segment.window_scale
        self.peer_window = segment.window
        if self.offered_scale is not None and segment.window_scale is not None:
            self.scale, self.peer_scale = self.offered_scale, segment.window_scale

    def _receive_answer(self, segment: Segment, of: Connection | None) -> None:
        """Take a segment in SYN-SENT (RFC 9293, 3.10.7.3)."""
        flags = segment.flags
        acceptable = flags & ACK and segment.acknowledgment == self.nxt % WRAP
        if flags & ACK and not acceptable:
            if not flags & RST:
                self._refuse_acknowledgment(segment, of)
            return
        if flags & RST:
            if acceptable:
                self._obey_reset(of)
            return
        if flags & SYN and acceptable:
            self._check(of)
            assert self.connection is not None
            self.connection.established = True
            self.state, self.una = ESTABLISHED, self.nxt
            self._learn(segment)
            self._send(self.nxt, ACK)
            self._push()

    def _receive(self, segment: Segment, of: Connection | None) -> None:
        """Take a segment in a synchronized state (RFC 9293, 3.10.7.4, and RFC 5961)."""
        flags, size = segment.flags, len(segment.payload)
        ahead = signed(segment.sequence - self.rcv_nxt)
        if flags & SYN:
            self._receive_syn(segment, of, ahead)
            return
        length = size + bool(flags & FIN)
        in_window = ahead < self.capacity and (ahead >= 0 or ahead + length > 0)
        if flags & RST:
            if ahead == 0:
                self._obey_reset(of)
            elif 0 < ahead < self.capacity:
                self._send(self.nxt, ACK)
            return
        if not in_window:
            self._answer_unacceptable(length)
            return
        if not flags & ACK or not self._take_acknowledgment(segment, of):
            return
        if length and self.state in (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2):
            self._check(of)
            self._take_data(segment, ahead)
        elif length:
            self._send(self.nxt, ACK)

    def _receive_syn(self, segment: Segment, of: Connection | None, ahead: int) -> None:
        """Answer a SYN in a synchronized state: it never ends a connection (RFC 5961, 4.2)."""
        if self.state == TIME_WAIT and ahead > 0 and self._is_opening(segment, of):
            assert of is not None
            self._accept(segment, of, self.nxt + LINUX_STEP)
            return
        if self.state == SYN_RECEIVED and ahead == -1 and not segment.flags & ACK:
            self._send(self.iss, SYN | ACK)
            return
        self._send(self.nxt, ACK)

    def _answer_unacceptable(self, length: int) -> None:
        """Acknowledge what cannot be taken; empty segments not too often (RFC 5961, 7).

        Otherwise two ends that do not agree would answer each other for ever.
        """
        if length or self.wire.now - self.answered > CHALLENGE_NS:
            self.answered = self.wire.now
            self._send(self.nxt, ACK)

    def _is_opening(self, segment: Segment, of: Connection | None) -> bool:
        return self.rest == LISTEN and not segment.flags & ACK and of is not None

    def _take_acknowledgment(self, segment: Segment, of: Connection | None) -> bool:
        """Take the acknowledgment of a segment; return whether the rest of it may be taken."""
        ahead = signed(segment.acknowledgment - self.una)
        if self.state == SYN_RECEIVED:
            if ahead != 1:
                self._refuse_acknowledgment(segment, of)
                return False
            self._check(of)
            assert self.connection is not None
            self.state, self.connection.established = ESTABLISHED, True
        if self.una + ahead > self.nxt or ahead < -max(self.peer_window, 1 << 16):
            self._answer_unacceptable(len(segment.payload))
            return False
        self.peer_window = segment.window << self.peer_scale
        if ahead > 0:
            self._check(of)
            self.una += ahead
            if self.una < self.nxt:
                self._arm()
            elif self.closing and self.state in (FIN_WAIT_1, CLOSING, LAST_ACK):
                self._finish_acknowledged()
        if self.state in (ESTABLISHED, CLOSE_WAIT):
            self._push()
        return True

    def _refuse_acknowledgment(self, segment: Segment, of: Connection | None) -> None:
        """Answer what acknowledges something that was never sent."""
        mine, self.connection = self.connection, of
        self._send(segment.acknowledgment, RST)
        self.connection = mine

    def _finish_acknowledged(self) -> None:
        if self.state == FIN_WAIT_1:
            self.state = FIN_WAIT_2
        elif self.state == CLOSING:
            self._wait()
        else:
            self._rest()

    def _wait(self) -> None:
        self.state = TIME_WAIT
        self.generation += 1
        self.until = self.wire.now + TIME_WAIT_NS

    def _take_data(self, segment: Segment, ahead: int) -> None:
        """Queue the bytes of a segment that fit the window, and take what is in order."""
        assert self.connection is not None
        payload = segment.payload[: self.capacity - ahead]
        if segment.flags & FIN and len(payload) == len(segment.payload):
            self.fin_at = self.rcv_nxt + ahead + len(payload)
        at = self.rcv_nxt + ahead
        if len(self.queue.get(at, b"")) < len(payload):
            self.queue[at] = payload
        before = self.rcv_nxt
        while self.queue and min(self.queue) <= self.rcv_nxt:
            first = min(self.queue)
            end = first + len(self.queue.pop(first))
            if end > self.rcv_nxt:
                self.connection.got[1 - self.side] += end - self.rcv_nxt
                self.rcv_nxt = end
        if self.fin_at == self.rcv_nxt:
            self._take_fin()
        elif self.rcv_nxt == before or self.queue or self.unacknowledged:
            self._send(self.nxt, ACK)
        else:
            self.unacknowledged += 1
            self.wire.timer(DELAYED_ACK_NS, self, "acknowledge", 0)

    def _take_fin(self) -> None:
        assert self.connection is not None
        self.rcv_nxt += 1
        self.fin_at = None
        self.connection.finished[1 - self.side] = True
        if self.state == ESTABLISHED:
            self.state = CLOSE_WAIT
        elif self.state == FIN_WAIT_1:
            self.state = CLOSING
        else:
            self._wait()
        self._send(self.nxt, ACK)

    def _obey_reset(self, of: Connection | None) -> None:
        assert self.connection is not None
        if of is not None:
            self._check(of)
        self.connection.resets.add(1 - self.side)
        self._rest()

    def _check(self, of: Connection | None) -> None:
        """Note it if something of another connection is taken."""
        assert self.connection is not None
        if of is not self.connection and self.connection.number >= 0:
            self.connection.mixed = True
