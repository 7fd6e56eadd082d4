"""Two messages change places."""

from __future__ import annotations

from collections.abc import Sequence

from lbcproxy.faults.message import Memory, MessageKind
from lbcproxy.plugins.verdicts import Drop, Inject, Verdict
from lbcproxy.session import Message

__all__ = ["KIND", "Reorder"]


class Reorder(MessageKind, frozen=True):
    """Keep a message back until the next that it meets in its direction has passed."""

    type = "reorder"

    def decide(self, message: Message, memory: Memory) -> Sequence[Verdict]:
        """Keep it, or let the one that was kept follow it."""
        before = [each for each in memory.kept if each.direction is message.direction]
        if not before:
            memory.kept.append(message)
            return [Drop("comes behind the next")]
        memory.kept.remove(before[0])
        return [Inject(before[0], why="behind the next")]


KIND = Reorder
