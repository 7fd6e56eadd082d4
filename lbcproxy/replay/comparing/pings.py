"""Signs of life on one side of a comparison: which pings were answered."""

from __future__ import annotations

import msgspec

from lbcproxy.replay.comparing.normalize import Said
from lbcproxy.session import Direction, Message
from lbcproxy.wire.messages.keepalive import Ping, Pong

__all__ = ["Asked", "Pings"]

MOST = 1_000
"""Pings that may be open in a direction; more are forgotten, the oldest first."""


class Asked(msgspec.Struct, frozen=True):
    """A ping that was sent."""

    said: Said
    nonce: int
    place: int
    """How many messages that count were before it, on its side."""
    seen: int
    """Its place among all messages of its side."""


class Pings:
    """The pings and pongs of one side; directions are those of the pongs."""

    def __init__(self) -> None:
        self._open: dict[Direction, list[Asked]] = {each: [] for each in Direction}
        self._unanswered: dict[Direction, list[Asked]] = {each: [] for each in Direction}
        self._answered = dict.fromkeys(Direction, 0)
        self._seen = 0
        self._last = dict.fromkeys(Direction, 0)

    def see(self, place: int, said: Said, content: Message | bytes) -> bool:
        """Take note of a message; whether it is a pong that somebody has asked for."""
        self._seen += 1
        self._last[said.direction] = self._seen
        if said.command not in ("ping", "pong") or isinstance(content, bytes):
            return False  # nothing else is decoded
        record = content.record
        if isinstance(record, Ping) and record.nonce is not None:
            asked = self._open[said.direction.other]
            asked.append(Asked(said, record.nonce, place, self._seen))
            del asked[:-MOST]
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
        """Return how many pings were answered in a direction."""
        return self._answered[direction]

    def open(self, direction: Direction) -> int:
        """Return how many pings wait for a pong in a direction."""
        return len(self._open[direction])

    def give_up(self, direction: Direction) -> None:
        """Wait no longer: the open ones are not answered."""
        self._unanswered[direction] += self._open[direction]
        self._open[direction] = []

    def unanswered(self, direction: Direction) -> list[Asked]:
        """Return the pings that were not answered, though both sides went on to say something.

        What would have been said to those at the end of a conversation nobody knows.
        """
        last = min(self._last.values())
        return self._unanswered[direction] + [
            each for each in self._open[direction] if each.seen < last
        ]
