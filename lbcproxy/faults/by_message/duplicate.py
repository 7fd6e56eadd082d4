"""A message comes more than once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from lbcproxy.faults.message import Memory, MessageKind
from lbcproxy.plugins.verdicts import Inject, Verdict
from lbcproxy.session import Message

__all__ = ["KIND", "Duplicate"]


class Duplicate(MessageKind, frozen=True):
    """Send the message `times` more."""

    type = "duplicate"

    times: Annotated[int, Meta(ge=1, le=1000, description="messages")] = 1

    def decide(self, message: Message, memory: Memory) -> Sequence[Verdict]:
        """Let it pass, and again."""
        return [Inject(*[message] * self.times)]


KIND = Duplicate
