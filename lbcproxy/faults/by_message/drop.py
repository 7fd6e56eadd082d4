"""A message is lost."""

from __future__ import annotations

from collections.abc import Sequence

from lbcproxy.faults.message import Memory, MessageKind
from lbcproxy.plugins.verdicts import Drop, Verdict
from lbcproxy.session import Message

__all__ = ["KIND", "DropMessage"]


class DropMessage(MessageKind, frozen=True):
    """Drop the message."""

    type = "drop"

    def decide(self, message: Message, memory: Memory) -> Sequence[Verdict]:
        """Let it not pass."""
        return [Drop()]


KIND = DropMessage
