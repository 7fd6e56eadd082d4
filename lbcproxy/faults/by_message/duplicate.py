"""A message that arrives more than once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from lbcproxy.faults.message_fault import MessageFault, MessageFaultState
from lbcproxy.plugins.verdicts import Inject, Verdict
from lbcproxy.session import Message

__all__ = ["FAULT", "Duplicate"]


class Duplicate(MessageFault, frozen=True):
    """Send the message `times` more times."""

    type = "duplicate"

    times: Annotated[int, Meta(ge=1, le=1000, description="messages")] = 1

    def decide(self, message: Message, state: MessageFaultState) -> Sequence[Verdict]:
        """Inject copies after the message."""
        return [Inject(*[message] * self.times)]


FAULT = Duplicate
