"""What a recorded client does next: the core of its replay. No I/O; time is handed in.

The recorded messages of the client are its lines. Before each stand those of the node that it had
when it spoke: they are waited for, matched by meaning, and what does not come in time is given up.
Fresh are the nonce and the time of `version` and the nonces of pings; pings of the node are
answered as they come, in place of the recorded pongs. All else is sent as it was recorded.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from typing import Any

from lbcproxy.replay.as_client.pace import CAUSAL, Pace
from lbcproxy.replay.comparing.compare import LIVE, RECORDED, Comparison
from lbcproxy.replay.comparing.difference import Difference, Report
from lbcproxy.replay.comparing.ignored_fields import Ignored
from lbcproxy.replay.comparing.normalize import Said
from lbcproxy.replay.conversation import Conversation, Turn
from lbcproxy.session import Delivery, Direction, Entry, Message, Session
from lbcproxy.wire.messages.handshake import Version
from lbcproxy.wire.messages.keepalive import Ping, Pong

__all__ = ["ClientScript"]

NONCES = 60000
"""Protocol versions above have nonces in pings, and pongs."""
MOST_PINGS = 1_000
"""Recorded pings of the node that may be without a pong."""


class ClientScript:
    """Plays the client of a conversation.

    `timeout` is how long an answer is waited for, in seconds. `now` is handed in as seconds of any
    clock, `time_ns` as nanoseconds since 1970. `nonce` gives 64 random bits.
    """

    def __init__(
        self,
        conversation: Conversation,
        ignored: Ignored,
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
        self._place = 0
        self._asked: dict[int | None, None] = {}  # recorded pings of the node
        self._pongs: deque[Message] = deque()
        self._last: Turn | None = None
        self._began = self._progress = 0.0
        self._first_ns = next((each.time_ns for each in self._turns if _is_ours(each)), 0)
        self._steps = 0
        self._farewell: int | None = None
        self.done = False
        """Whether there is nothing more to send or to wait for."""

    # How far it is.

    @property
    def place(self) -> int:
        """How many of the recorded messages it is past."""
        return self._place

    @property
    def recorded_seconds(self) -> float:
        """How much of the recorded time it is past."""
        if self._last is None:
            return 0.0
        return (self._last.time_ns - self._first_ns) / 1e9

    @property
    def next_step(self) -> Message | None:
        """The message that waits for a step; None if none does."""
        if not self._pace.steps or self._steps or self.done:
            return None
        turn = self._next_turn()
        return None if turn is None else self._conversation.message(turn)

    def step(self) -> None:
        """Let the next message be sent."""
        self._steps += 1

    # What happens.

    def begin(self, now: float) -> None:
        """Begin: the connection is there."""
        self._began = self._progress = now

    def receive(self, data: bytes, now: float, time_ns: int) -> list[Delivery]:
        """Take bytes of the node, and say what they complete."""
        deliveries = self.session.receive(Direction.TO_CLIENT, data, time_ns)
        before = self._comparison.matched
        for entry in _entries(deliveries):
            self._hear(entry)
        if self._comparison.matched != before:
            self._progress = now
        return deliveries

    def send(self, now: float, time_ns: int) -> list[Delivery]:
        """Return the next message to send, or nothing. Call again until it is nothing."""
        if self.done:
            return []
        if self._pongs:
            return self._say(self._pongs.popleft(), time_ns)
        turn = self._next_turn()
        if turn is None:
            return self._say_farewell(now, time_ns)
        if not self._is_due(turn, now):
            return []
        self._steps = 0
        self._progress = now
        self._last = turn
        self._take_recorded(turn)
        return self._say(self._fresh(self._conversation.message(turn), time_ns), time_ns)

    def deadline(self, now: float) -> float | None:
        """Say when `send` may have something even if nothing comes; None for never."""
        if self.done:
            return None
        turn = self._next_turn()
        if turn is None or self._pace.is_causal:
            return self._progress + self._timeout
        if self._pace.ratio is not None:
            return max(now, self._due(turn))
        return None

    def closed(self, time_ns: int, how: str) -> list[Delivery]:
        """Take note that the connection is gone: `how` is said in the report, if it matters."""
        deliveries = self.session.end(Direction.TO_CLIENT, time_ns)
        for entry in _entries(deliveries):
            self._hear(entry)
        if not self.done:
            self.done = True
            self._next_turn()
            unsent = self._unsent()
            unheard = sum(not _is_ours(each) for each in self._turns[self._place :])
            unheard += self._comparison.awaited(Direction.TO_CLIENT)
            if unsent or unheard:
                self._comparison.add(self._early_end(how, unsent, unheard))
        return deliveries

    def stop(self) -> None:
        """End where it is: the rest is not compared."""
        self.done = True

    def report(self) -> Report:
        """Return what differs; once, when it is done."""
        report = self._comparison.finish()
        report.notices = tuple(self._conversation.notices)
        if unsent := self._unsent():
            report.notices += (f"{unsent:,} of the client's messages were not sent",)
        return report

    def _unsent(self) -> int:
        """Count the lines that are left."""
        left = (self._turns[place] for place in range(self._place, len(self._turns)))
        return sum(_is_ours(each) and each.command != "pong" for each in left)

    # The lines.

    def _next_turn(self) -> Turn | None:
        """Take what the node had said before the client's next line, and give that line."""
        while self._place < len(self._turns):
            turn = self._turns[self._place]
            if _is_ours(turn) and not self._is_live(turn):
                return turn
            self._take_recorded(turn)
        return None

    def _take_recorded(self, turn: Turn) -> None:
        self._place += 1
        if turn.command == "ping" and not _is_ours(turn):
            record = self._conversation.message(turn).record
            if isinstance(record, Ping):
                self._asked[record.nonce] = None
            if len(self._asked) > MOST_PINGS:
                del self._asked[next(iter(self._asked))]
        self._comparison.take(RECORDED, self._said(turn))

    def _is_live(self, turn: Turn) -> bool:
        """Whether a message is the answer to a ping, and so not said by the script."""
        if turn.command != "pong":
            return False
        record = self._conversation.message(turn).record
        return isinstance(record, Pong) and record.nonce in self._asked

    def _said(self, turn: Turn) -> Said:
        return Said(
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
        return self._has_heard(now)

    def _due(self, turn: Turn) -> float:
        assert self._pace.ratio is not None
        return self._began + (turn.time_ns - self._first_ns) / 1e9 / self._pace.ratio

    def _has_heard(self, now: float) -> bool:
        """Whether all that is waited for is there, or was waited for too long."""
        if not self._comparison.awaited(Direction.TO_CLIENT):
            return True
        if now < self._progress + self._timeout:
            return False
        self._comparison.give_up(Direction.TO_CLIENT)
        return True

    def _fresh(self, message: Message, time_ns: int) -> Message:
        """Return a message with what must not be said twice said anew."""
        record = message.record
        if message.error is not None:
            return message
        if isinstance(record, Version):
            changes: dict[str, Any] = {"timestamp": time_ns // 1_000_000_000}
            if record.nonce is not None:
                changes["nonce"] = self._nonce()
            return message.replace(**changes)
        if isinstance(record, Ping) and record.nonce is not None:
            return message.replace(nonce=self._nonce())
        return message

    def _say_farewell(self, now: float, time_ns: int) -> list[Delivery]:
        """Behind the last line and its answers send a ping: what comes before its pong counts."""
        able = self.session.is_ready and (self.session.protocol_version or 0) > NONCES
        if not self._has_heard(now):
            return []
        if able and self._farewell is None:
            self._progress = now
            self._farewell = self._nonce()
            codec = self.session.codec_to(Direction.TO_UPSTREAM)
            return self._say(
                Message.of(Ping(self._farewell), Direction.TO_UPSTREAM, codec), time_ns
            )
        self.done = not able or now >= self._progress + self._timeout
        return []

    # What is said live.

    def _say(self, message: Message, time_ns: int) -> list[Delivery]:
        deliveries = self.session.receive(Direction.TO_UPSTREAM, message.raw, time_ns)
        for entry in _entries(deliveries):
            self._comparison.take(LIVE, Said.of(entry))
        return deliveries

    def _hear(self, entry: Entry) -> None:
        self._comparison.take(LIVE, Said.of(entry))
        record = entry.message.record if entry.message is not None else None
        if isinstance(record, Ping) and record.nonce is not None:
            codec = self.session.codec_to(Direction.TO_UPSTREAM)
            self._pongs.append(Message.of(Pong(record.nonce), Direction.TO_UPSTREAM, codec))
        if isinstance(record, Pong) and record.nonce == self._farewell:
            self.done = True

    def _early_end(self, how: str, unsent: int, unheard: int) -> Difference:
        behind = "before the first message"
        if self._last is not None:
            behind = f"behind message {self._last.number:,}, {self._last.command}"
        lost = [f"{unsent:,} were not sent"] if unsent else []
        lost += [f"{unheard:,} did not come"] if unheard else []
        return Difference(
            kind="closed",
            place=self._comparison.taken[RECORDED],
            session=self._conversation.number,
            words=f"{how} {behind}; of the messages recorded behind it {', '.join(lost)}",
        )


def _is_ours(turn: Turn) -> bool:
    return turn.direction is Direction.TO_UPSTREAM


def _entries(deliveries: list[Delivery]) -> list[Entry]:
    return [entry for each in deliveries for entry in each.entries]
