"""What a recorded client does next: the core of its replay. No I/O; the caller passes the time.

A message of the client is sent after the node's messages that preceded it in the recording. They
are matched by content; those that do not arrive in time are given up. The nonce and time of
`version` and the nonces of pings are new. Pings of the node are answered when they arrive, and
recorded pongs are not sent. Everything else is sent as recorded.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable

from lbcproxy.replay.as_client.pace import CAUSAL, Pace
from lbcproxy.replay.comparing.compare import LIVE, RECORDED, Comparison
from lbcproxy.replay.comparing.difference import ComparisonReport, Difference
from lbcproxy.replay.comparing.ignored_fields import IgnoredFields
from lbcproxy.replay.comparing.normalize import ComparedMessage
from lbcproxy.replay.conversation import Conversation, Turn
from lbcproxy.session import Delivery, Direction, Entry, Message, Session
from lbcproxy.wire.messages.handshake import Version
from lbcproxy.wire.messages.keepalive import Ping, Pong

__all__ = ["ClientScript"]

NONCES = 60000
"""Pings have a nonce, and pongs exist, in protocol versions above this."""
MAX_PINGS = 1_000
"""Maximum number of recorded pings of the node without a pong."""


class ClientScript:
    """Plays the client of a conversation.

    In all methods, `now` is in seconds of any clock and `time_ns` in nanoseconds since 1970.

    Args:
        conversation: The recorded session.
        ignored: The fields and commands that are not compared.
        pace: When messages are sent.
        timeout: Seconds to wait for each response.
        nonce: Returns 64 random bits.
    """

    def __init__(
        self,
        conversation: Conversation,
        ignored: IgnoredFields,
        *,
        pace: Pace = CAUSAL,
        timeout: float = 10.0,
        nonce: Callable[[], int] = lambda: secrets.randbits(64),
    ) -> None:
        self._conversation = conversation
        self._pace = pace
        self._timeout = timeout
        self._nonce = nonce
        self.session = Session(1, conversation.network, stream_above=None)
        """The live conversation."""
        self._comparison = Comparison(ignored, conversation.number)
        self._turns = conversation.turns
        self._position = 0
        self._open_pings: dict[int | None, None] = {}  # recorded pings of the node
        self._pongs: deque[Message] = deque()
        self._last: Turn | None = None
        self._started = self._progress = 0.0
        self._first_ns = next((each.time_ns for each in self._turns if _is_ours(each)), 0)
        self._steps = 0
        self._last_ping: int | None = None
        self.done = False
        """Whether there is nothing more to send or to wait for."""

    # Progress.

    @property
    def position(self) -> int:
        """Number of recorded messages that have been played."""
        return self._position

    @property
    def recorded_seconds(self) -> float:
        """Seconds of the recording that have been played."""
        if self._last is None:
            return 0.0
        return (self._last.time_ns - self._first_ns) / 1e9

    @property
    def next_step(self) -> Message | None:
        """The message that waits for a step, or None."""
        if not self._pace.steps or self._steps or self.done:
            return None
        turn = self._next_turn()
        return None if turn is None else self._conversation.message(turn)

    def step(self) -> None:
        """Allow the next message to be sent."""
        self._steps += 1

    # Events.

    def begin(self, now: float) -> None:
        """Start the clock: the connection is established."""
        self._started = self._progress = now

    def receive(self, data: bytes, now: float, time_ns: int) -> list[Delivery]:
        """Process bytes from the node, and return the messages that they complete."""
        deliveries = self.session.receive(Direction.TO_CLIENT, data, time_ns)
        before = self._comparison.matched
        for entry in _entries(deliveries):
            self._receive_entry(entry)
        if self._comparison.matched != before:
            self._progress = now
        return deliveries

    def send(self, now: float, time_ns: int) -> list[Delivery]:
        """Return the next message to send, if any; call again until the list is empty."""
        if self.done:
            return []
        if self._pongs:
            return self._send(self._pongs.popleft(), time_ns)
        turn = self._next_turn()
        if turn is None:
            return self._send_last_ping(now, time_ns)
        if not self._is_due(turn, now):
            return []
        self._steps = 0
        self._progress = now
        self._last = turn
        self._add_recorded(turn)
        return self._send(self._with_new_nonces(self._conversation.message(turn), time_ns), time_ns)

    def deadline(self, now: float) -> float | None:
        """Return when `send` may have a message although nothing arrived; None for never."""
        if self.done:
            return None
        turn = self._next_turn()
        if turn is None or self._pace.is_causal:
            return self._progress + self._timeout
        if self._pace.ratio is not None:
            return max(now, self._due(turn))
        return None

    def closed(self, time_ns: int, how: str) -> list[Delivery]:
        """Record the end of the connection; `how` is in the report if messages are missing."""
        deliveries = self.session.end(Direction.TO_CLIENT, time_ns)
        for entry in _entries(deliveries):
            self._receive_entry(entry)
        if not self.done:
            self.done = True
            self._next_turn()
            unsent = self._unsent()
            unheard = sum(not _is_ours(each) for each in self._turns[self._position :])
            unheard += self._comparison.count_awaited(Direction.TO_CLIENT)
            if unsent or unheard:
                self._comparison.add_difference(self._early_end(how, unsent, unheard))
        return deliveries

    def stop(self) -> None:
        """Stop here; the remaining messages are not compared."""
        self.done = True

    def report(self) -> ComparisonReport:
        """Return the differences; to be called once, at the end."""
        report = self._comparison.finish()
        report.notices = tuple(self._conversation.notices)
        if unsent := self._unsent():
            report.notices += (f"{unsent:,} of the client's messages were not sent",)
        return report

    def _unsent(self) -> int:
        """Return the number of messages that were not sent."""
        left = (self._turns[position] for position in range(self._position, len(self._turns)))
        return sum(_is_ours(each) and each.command != "pong" for each in left)

    # The recorded messages.

    def _next_turn(self) -> Turn | None:
        """Return the client's next message, after adding those of the node before it."""
        while self._position < len(self._turns):
            turn = self._turns[self._position]
            if _is_ours(turn) and not self._is_live(turn):
                return turn
            self._add_recorded(turn)
        return None

    def _add_recorded(self, turn: Turn) -> None:
        self._position += 1
        if turn.command == "ping" and not _is_ours(turn):
            record = self._conversation.message(turn).record
            if isinstance(record, Ping):
                self._open_pings[record.nonce] = None
            if len(self._open_pings) > MAX_PINGS:
                del self._open_pings[next(iter(self._open_pings))]
        self._comparison.add_message(RECORDED, self._compared(turn))

    def _is_live(self, turn: Turn) -> bool:
        """Return whether a message is a pong to a ping, which the script does not send."""
        if turn.command != "pong":
            return False
        record = self._conversation.message(turn).record
        return isinstance(record, Pong) and record.nonce in self._open_pings

    def _compared(self, turn: Turn) -> ComparedMessage:
        return ComparedMessage(
            number=turn.number,
            time_ns=turn.time_ns,
            direction=turn.direction,
            command=turn.command,
            content=lambda: self._conversation.message(turn),
        )

    def _is_due(self, turn: Turn, now: float) -> bool:
        if self._pace.steps:
            return self._steps > 0
        if self._pace.ratio is not None:
            return now >= self._due(turn)
        return self._has_received(now)

    def _due(self, turn: Turn) -> float:
        assert self._pace.ratio is not None
        return self._started + (turn.time_ns - self._first_ns) / 1e9 / self._pace.ratio

    def _has_received(self, now: float) -> bool:
        """Return whether all expected messages arrived, or did not in time."""
        if not self._comparison.count_awaited(Direction.TO_CLIENT):
            return True
        if now < self._progress + self._timeout:
            return False
        self._comparison.give_up(Direction.TO_CLIENT)
        return True

    def _with_new_nonces(self, message: Message, time_ns: int) -> Message:
        """Return a message with new values for nonces and the time."""
        record = message.record
        if message.error is not None:
            return message
        if isinstance(record, Version):
            changes: dict[str, object] = {"timestamp": time_ns // 1_000_000_000}
            if record.nonce is not None:
                changes["nonce"] = self._nonce()
            return message.replace(**changes)
        if isinstance(record, Ping) and record.nonce is not None:
            return message.replace(nonce=self._nonce())
        return message

    def _send_last_ping(self, now: float, time_ns: int) -> list[Delivery]:
        """After the last message and its responses, ping: all messages before the pong count."""
        able = self.session.is_ready and (self.session.protocol_version or 0) > NONCES
        if not self._has_received(now):
            return []
        if able and self._last_ping is None:
            self._progress = now
            self._last_ping = self._nonce()
            codec = self.session.codec_to(Direction.TO_UPSTREAM)
            return self._send(
                Message.of(Ping(self._last_ping), Direction.TO_UPSTREAM, codec), time_ns
            )
        self.done = not able or now >= self._progress + self._timeout
        return []

    # The live messages.

    def _send(self, message: Message, time_ns: int) -> list[Delivery]:
        deliveries = self.session.receive(Direction.TO_UPSTREAM, message.raw, time_ns)
        for entry in _entries(deliveries):
            self._comparison.add_message(LIVE, ComparedMessage.of(entry))
        return deliveries

    def _receive_entry(self, entry: Entry) -> None:
        self._comparison.add_message(LIVE, ComparedMessage.of(entry))
        record = entry.message.record if entry.message is not None else None
        if isinstance(record, Ping) and record.nonce is not None:
            codec = self.session.codec_to(Direction.TO_UPSTREAM)
            self._pongs.append(Message.of(Pong(record.nonce), Direction.TO_UPSTREAM, codec))
        if isinstance(record, Pong) and record.nonce == self._last_ping:
            self.done = True

    def _early_end(self, how: str, unsent: int, unheard: int) -> Difference:
        when = "before the first message"
        if self._last is not None:
            when = f"after message {self._last.number:,}, {self._last.command}"
        lost = [f"{unsent:,} were not sent"] if unsent else []
        lost += [f"{unheard:,} did not arrive"] if unheard else []
        return Difference(
            kind="closed",
            position=self._comparison.taken[RECORDED],
            session=self._conversation.number,
            words=f"{how} {when}; of the messages recorded after it {', '.join(lost)}",
        )


def _is_ours(turn: Turn) -> bool:
    return turn.direction is Direction.TO_UPSTREAM


def _entries(deliveries: list[Delivery]) -> list[Entry]:
    return [entry for each in deliveries for entry in each.entries]
