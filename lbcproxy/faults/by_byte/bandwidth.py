"""Less passes in a second."""

from __future__ import annotations

from typing import Annotated

from lbcproxy.faults.kind import Kind, amount
from lbcproxy.faults.step import NEVER, Item, Memory, Step, passes

__all__ = ["KIND", "Bandwidth"]

SLICE = 0.1
"""Seconds that a piece takes at most, and that a late timer may be made good for."""


class Bandwidth(Kind, frozen=True):
    """Pass at most `rate` kilobytes (of 1,000 bytes) a second; at 0 nothing passes."""

    type = "bandwidth"

    rate: Annotated[int, amount("kilobytes a second")] = 0

    def next(self, head: Item | None, memory: Memory, now: float) -> Step | None:
        """Send a piece when it would have come through; the end behind the last."""
        if head is None:
            return None
        if head.end is not None:
            return passes(max(memory.free, head.arrived), 0)
        if self.rate == 0:
            return passes(NEVER, len(head.data))
        a_second = self.rate * 1000
        size = min(len(head.data), max(1, int(a_second * SLICE)))
        start = max(memory.free, head.arrived, now - SLICE)
        at = start + size / a_second
        return passes(at, size, free=at)


KIND = Bandwidth
