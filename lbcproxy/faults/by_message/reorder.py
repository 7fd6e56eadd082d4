"""Two messages in the wrong order."""

from __future__ import annotations

from collections.abc import Sequence

from lbcproxy.faults.message_fault import MessageFault, MessageFaultState
from lbcproxy.plugins.verdicts import Drop, Inject, Verdict
from lbcproxy.session import Message

__all__ = ["FAULT", "Reorder"]


class Reorder(MessageFault, frozen=True):
    """Hold a message until the next selected message in its direction has passed."""

    type = "reorder"

    def decide(self, message: Message, state: MessageFaultState) -> Sequence[Verdict]:
        """Hold the message, or inject the one that is held after it."""
        before = [each for each in state.kept if each.direction is message.direction]
        if not before:
            state.kept.append(message)
            return [Drop("sent after the next")]
        state.kept.remove(before[0])
        return [Inject(before[0], why="held before this one")]


FAULT = Reorder
