"""Signs of life on one side of a comparison: which pings were answered."""

from __future__ import annotations

from lbcproxy.replay.meaning import Said
from lbcproxy.session import Direction, Message
from lbcproxy.wire.messages.keepalive import Ping, Pong

__all__ = ["Pings"]

MOST = 1_000
"""Pings that may be open; more are forgotten, the oldest first."""


class Pings:
    """The pings and pongs of one side; directions are those of the pongs."""

    def __init__(self) -> None:
        self._open: dict[Direction, dict[int, tuple[int, Said]]] = {each: {} for each in Direction}
        self._behind: dict[Direction, int] = dict.fromkeys(Direction, 0)
        self._unanswered: dict[Direction, list[tuple[int, Said]]] = {each: [] for each in Direction}
        self._answered = dict.fromkeys(Direction, 0)

    def see(self, place: int, said: Said, content: Message | bytes) -> bool:
        """Take note of a message at a place; False for a pong that nobody has asked for."""
        direction = said.direction
        self._behind[direction] = place
        record = content.record if isinstance(content, Message) else None
        if isinstance(record, Ping) and record.nonce is not None:
            asked = self._open[direction.other]
            if len(asked) == MOST:
                del asked[next(iter(asked))]
            asked[record.nonce] = (place, said)
        if isinstance(record, Pong):
            if self._open[direction].pop(record.nonce, None) is None:
                return False
            self._answered[direction] += 1
        return True

    def answered(self, direction: Direction) -> int:
        """Say how many pings were answered in a direction."""
        return self._answered[direction]

    def open(self, direction: Direction) -> int:
        """Say how many pings wait for a pong in a direction."""
        return len(self._open[direction])

    def give_up(self, direction: Direction) -> None:
        """Wait no longer: the open ones are not answered."""
        self._unanswered[direction] += self._open[direction].values()
        self._open[direction].clear()

    def unanswered(self, direction: Direction) -> list[tuple[int, Said]]:
        """Give the pings that were not answered: the other end said something later, and no pong.

        With what a conversation ends nobody can know.
        """
        later = self._behind[direction]
        left = [each for each in self._open[direction].values() if each[0] < later]
        return self._unanswered[direction] + left
