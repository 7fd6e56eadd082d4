"""Nothing comes any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from lbcproxy.faults.message import Memory, MessageKind
from lbcproxy.plugins.verdicts import Delay, Verdict
from lbcproxy.session import Message

__all__ = ["KIND", "Stall"]

FOR_EVER = 10 * 365 * 86_400.0


class Stall(MessageKind, frozen=True):
    """Hold the message and all behind it for `seconds`; 0 is for ever."""

    type = "stall"

    seconds: Annotated[float, Meta(ge=0, description="seconds")] = 0.0

    def decide(self, message: Message, memory: Memory) -> Sequence[Verdict]:
        """Hold it."""
        return [Delay(self.seconds or FOR_EVER, "stalled")]


KIND = Stall
