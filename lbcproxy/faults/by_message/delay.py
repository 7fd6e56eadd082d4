"""A message comes late, and all behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from lbcproxy.faults.message import Memory, MessageKind
from lbcproxy.plugins.verdicts import Delay, Verdict
from lbcproxy.session import Message

__all__ = ["KIND", "DelayMessage"]


class DelayMessage(MessageKind, frozen=True):
    """Hold the message for `delay`, plus or minus up to `jitter`; order is kept."""

    type = "delay"

    delay: Annotated[float, Meta(ge=0, description="seconds")] = 0.0
    jitter: Annotated[float, Meta(ge=0, description="seconds")] = 0.0

    def decide(self, message: Message, memory: Memory) -> Sequence[Verdict]:
        """Hold it."""
        jitter = memory.random.uniform(-self.jitter, self.jitter) if self.jitter else 0.0
        return [Delay(max(0.0, self.delay + jitter))]


KIND = DelayMessage
