"""A message that arrives late, and with it everything after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from lbcproxy.faults.message_fault import MessageFault, MessageFaultState
from lbcproxy.plugins.verdicts import Delay, Verdict
from lbcproxy.session import Message

__all__ = ["FAULT", "DelayMessage"]


class DelayMessage(MessageFault, frozen=True):
    """Hold the message for `delay`, plus or minus up to `jitter`; the order stays."""

    type = "delay"

    delay: Annotated[float, Meta(ge=0, description="seconds")] = 0.0
    jitter: Annotated[float, Meta(ge=0, description="seconds")] = 0.0

    def decide(self, message: Message, state: MessageFaultState) -> Sequence[Verdict]:
        """Delay the message."""
        jitter = state.random.uniform(-self.jitter, self.jitter) if self.jitter else 0.0
        return [Delay(max(0.0, self.delay + jitter))]


FAULT = DelayMessage
