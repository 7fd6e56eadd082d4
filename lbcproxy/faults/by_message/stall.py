"""A direction in which nothing arrives any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from lbcproxy.faults.message_fault import MessageFault, MessageFaultState
from lbcproxy.plugins.verdicts import Delay, Verdict
from lbcproxy.session import Message

__all__ = ["FAULT", "Stall"]

FOREVER = 10 * 365 * 86_400.0


class Stall(MessageFault, frozen=True):
    """Hold the message and everything after it for `seconds`; 0 is forever."""

    type = "stall"

    seconds: Annotated[float, Meta(ge=0, description="seconds")] = 0.0

    def decide(self, message: Message, state: MessageFaultState) -> Sequence[Verdict]:
        """Delay the message."""
        return [Delay(self.seconds or FOREVER, "stalled")]


FAULT = Stall
