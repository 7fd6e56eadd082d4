"""A model of the two ends of TCP connections, as RFC 9293 and RFC 5961 have them.

An `End` is what one host keeps for one pair of addresses: connections come on it one after the
other. It decides by the states of RFC 9293 (3.10.7) what it takes, so what its application got is
the truth that a reader of captures is held against. It knows nothing of how segments travel: it
sends by `Wire.transmit`, and the wire calls `receive`.

Not modelled: simultaneous opens, urgent data, windows that shrink, congestion control, selective
acknowledgments, timestamps. Sequence numbers in here do not wrap; on the wire they do.
"""

from __future__ import annotations

from lbcproxy.capture.packet import ACK, FIN, RST, SYN, Segment
from tests.capture.tcp_sender import Sender
from tests.capture.tcp_states import CHALLENGE_NS, DELAYED_ACK_NS, LINUX_STEP, TIME_WAIT_NS, State
from tests.capture.tcp_truth import WRAP, Connection, signed


class End(Sender):
    """One host's side of one pair of addresses."""

    def receive(self, segment: Segment, of: Connection | None) -> None:
        """Take a segment, `of` a connection, or of none if somebody forged it."""
        if self.state == State.TIME_WAIT and self.wire.now >= self.until:
            self._rest()
        if self.state == State.CLOSED:
            self._refuse(segment, of)
        elif self.state == State.LISTEN:
            self._listen(segment, of)
        elif self.state == State.SYN_SENT:
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
        self._begin(of, iss, State.SYN_RECEIVED)
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
            self.state, self.una = State.ESTABLISHED, self.nxt
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
        if length and self.state in (State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2):
            self._check(of)
            self._take_data(segment, ahead)
        elif length:
            self._send(self.nxt, ACK)

    def _receive_syn(self, segment: Segment, of: Connection | None, ahead: int) -> None:
        """Answer a SYN in a synchronized state: it never ends a connection (RFC 5961, 4.2)."""
        if self.state == State.TIME_WAIT and ahead > 0 and self._is_opening(segment, of):
            assert of is not None
            self._accept(segment, of, self.nxt + LINUX_STEP)
            return
        if self.state == State.SYN_RECEIVED and ahead == -1 and not segment.flags & ACK:
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
        return self.rest == State.LISTEN and not segment.flags & ACK and of is not None

    def _take_acknowledgment(self, segment: Segment, of: Connection | None) -> bool:
        """Take the acknowledgment of a segment; return whether the rest of it may be taken."""
        ahead = signed(segment.acknowledgment - self.una)
        if self.state == State.SYN_RECEIVED:
            if ahead != 1:
                self._refuse_acknowledgment(segment, of)
                return False
            self._check(of)
            assert self.connection is not None
            self.state, self.connection.established = State.ESTABLISHED, True
        if self.una + ahead > self.nxt or ahead < -max(self.peer_window, 1 << 16):
            self._answer_unacceptable(len(segment.payload))
            return False
        self.peer_window = segment.window << self.peer_scale
        if ahead > 0:
            self._check(of)
            self.una += ahead
            if self.una < self.nxt:
                self._arm()
            elif self.closing and self.state in (State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK):
                self._finish_acknowledged()
        if self.state in (State.ESTABLISHED, State.CLOSE_WAIT):
            self._push()
        return True

    def _refuse_acknowledgment(self, segment: Segment, of: Connection | None) -> None:
        """Answer what acknowledges something that was never sent."""
        mine, self.connection = self.connection, of
        self._send(segment.acknowledgment, RST)
        self.connection = mine

    def _finish_acknowledged(self) -> None:
        if self.state == State.FIN_WAIT_1:
            self.state = State.FIN_WAIT_2
        elif self.state == State.CLOSING:
            self._wait()
        else:
            self._rest()

    def _wait(self) -> None:
        self.state = State.TIME_WAIT
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
        if self.state == State.ESTABLISHED:
            self.state = State.CLOSE_WAIT
        elif self.state == State.FIN_WAIT_1:
            self.state = State.CLOSING
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
