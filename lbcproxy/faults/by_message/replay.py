"""An earlier message comes again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from lbcproxy.faults.message import Memory, MessageKind
from lbcproxy.plugins.verdicts import Inject, Verdict
from lbcproxy.session import Message

__all__ = ["KIND", "Replay"]

MOST = 1 << 20


class Replay(MessageKind, frozen=True):
    """Send one of the last `of` messages that it met, again, behind this one."""

    type = "replay"

    of: Annotated[int, Meta(ge=1, le=100, description="messages that are remembered")] = 10

    def decide(self, message: Message, memory: Memory) -> Sequence[Verdict]:
        """Let it pass, and an earlier one behind it."""
        earlier = [each for each in memory.kept if each.direction is message.direction]
        if len(message.raw) <= MOST:
            memory.kept.append(message)
            del memory.kept[: -self.of]
        return [Inject(memory.random.choice(earlier), why="an earlier one")] if earlier else []


KIND = Replay
