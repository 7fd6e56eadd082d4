"""A lost message."""

from __future__ import annotations

from collections.abc import Sequence

from lbcproxy.faults.message_fault import MessageFault, MessageFaultState
from lbcproxy.plugins.verdicts import Drop, Verdict
from lbcproxy.session import Message

__all__ = ["FAULT", "DropMessage"]


class DropMessage(MessageFault, frozen=True):
    """Drop the message."""

    type = "drop"

    def decide(self, message: Message, state: MessageFaultState) -> Sequence[Verdict]:
        """Drop the message."""
        return [Drop()]


FAULT = DropMessage
