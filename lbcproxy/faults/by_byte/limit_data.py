"""A connection that ends in the middle."""

from __future__ import annotations

from typing import Annotated

from lbcproxy.faults.kind import Kind, amount
from lbcproxy.faults.step import Item, Memory, Step, closes, passes

__all__ = ["KIND", "LimitData"]


class LimitData(Kind, frozen=True):
    """Close the connection when `bytes` have passed."""

    type = "limit_data"

    bytes: Annotated[int, amount("bytes")] = 0

    def next(self, head: Item | None, memory: Memory, now: float) -> Step | None:
        """Pass what is left of them, then close; a limit of 0 closes at the first byte."""
        left = max(0, self.bytes - memory.passed)
        if head is None:
            return None
        if head.end is not None:
            return passes(head.arrived, 0)
        if len(head.data) < left:
            return passes(head.arrived, len(head.data))
        return closes(head.arrived, left)


KIND = LimitData
