"""An earlier message that arrives again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from lbcproxy.faults.message_fault import MessageFault, MessageFaultState
from lbcproxy.plugins.verdicts import Inject, Verdict
from lbcproxy.session import Message

__all__ = ["FAULT", "ReplayMessage"]

MAX_KEPT_SIZE = 1 << 20
"""Bytes of a message; a longer one is not remembered."""


class ReplayMessage(MessageFault, frozen=True):
    """Send one of the last `of` selected messages again, after this one."""

    type = "replay"

    of: Annotated[int, Meta(ge=1, le=100, description="messages that are remembered")] = 10

    def decide(self, message: Message, state: MessageFaultState) -> Sequence[Verdict]:
        """Inject an earlier message after this one."""
        earlier = [each for each in state.kept if each.direction is message.direction]
        if len(message.raw) <= MAX_KEPT_SIZE:
            state.kept.append(message)
            del state.kept[: -self.of]
        return [Inject(state.random.choice(earlier), why="an earlier one")] if earlier else []


FAULT = ReplayMessage
