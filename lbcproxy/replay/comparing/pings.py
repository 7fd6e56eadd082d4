"""The pings of one side of a comparison, and whether they were answered."""

from __future__ import annotations

import msgspec

from lbcproxy.replay.comparing.normalize import ComparedMessage
from lbcproxy.session import Direction, Message
from lbcproxy.wire.messages.keepalive import Ping, Pong

__all__ = ["Pings", "SentPing"]

MAX_OPEN_PINGS = 1_000
"""Maximum number of open pings per direction; the oldest are forgotten first."""


class SentPing(msgspec.Struct, frozen=True):
    """A ping that was sent."""

    said: ComparedMessage
    nonce: int
    position: int
    """Number of compared messages before it on its side."""
    seen: int
    """Its position among all messages of its side."""


class Pings:
    """The pings and pongs of one side; directions are those of the pongs."""

    def __init__(self) -> None:
        self._open: dict[Direction, list[SentPing]] = {each: [] for each in Direction}
        self._unanswered: dict[Direction, list[SentPing]] = {each: [] for each in Direction}
        self._answered = dict.fromkeys(Direction, 0)
        self._seen = 0
        self._last = dict.fromkeys(Direction, 0)

    def see(self, position: int, said: ComparedMessage, content: Message | bytes) -> bool:
        """Record a message; return whether it is the pong to a ping."""
        self._seen += 1
        self._last[said.direction] = self._seen
        if said.command not in ("ping", "pong") or isinstance(content, bytes):
            return False  # nothing else is decoded
        record = content.record
        if isinstance(record, Ping) and record.nonce is not None:
            asked = self._open[said.direction.other]
            asked.append(SentPing(said, record.nonce, position, self._seen))
            del asked[:-MAX_OPEN_PINGS]
        if not isinstance(record, Pong):
            return False
        waiting = self._open[said.direction]
        for index, each in enumerate(waiting):
            if each.nonce == record.nonce:
                del waiting[index]
                self._answered[said.direction] += 1
                return True
        return False

    def answered(self, direction: Direction) -> int:
        """Return the number of answered pings whose pongs have this direction."""
        return self._answered[direction]

    def open(self, direction: Direction) -> int:
        """Return the number of pings that wait for a pong in this direction."""
        return len(self._open[direction])

    def give_up(self, direction: Direction) -> None:
        """Count the open pings as not answered."""
        self._unanswered[direction] += self._open[direction]
        self._open[direction] = []

    def unanswered(self, direction: Direction) -> list[SentPing]:
        """Return the pings that were not answered although both sides sent later messages.

        Whether pings at the end of a conversation would have been answered is unknown.
        """
        last = min(self._last.values())
        return self._unanswered[direction] + [
            each for each in self._open[direction] if each.seen < last
        ]
