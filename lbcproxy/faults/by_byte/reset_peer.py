"""A connection that is broken off."""

from __future__ import annotations

from typing import Annotated

from lbcproxy.faults.kind import Kind, amount
from lbcproxy.faults.step import Item, Memory, Step, resets

__all__ = ["KIND", "ResetPeer"]


class ResetPeer(Kind, frozen=True):
    """Reset both legs `timeout` after the first bytes came; these are lost."""

    type = "reset_peer"

    timeout: Annotated[int, amount("milliseconds")] = 0

    def next(self, head: Item | None, memory: Memory, now: float) -> Step | None:
        """Wait from when the first came."""
        return None if head is None else resets(head.arrived + self.timeout / 1000)


KIND = ResetPeer
