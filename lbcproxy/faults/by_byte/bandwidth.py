"""A slow connection."""

from __future__ import annotations

from typing import Annotated

from lbcproxy.faults.action import NEVER, Action, FaultItem, StreamState, forward
from lbcproxy.faults.byte_fault import ByteFault, amount

__all__ = ["FAULT", "Bandwidth"]

SLICE = 0.1
"""Seconds: the longest time that a piece takes, and the lateness of a timer that is made up for."""


class Bandwidth(ByteFault, frozen=True):
    """Pass at most `rate` kilobytes (of 1,000 bytes) a second; at 0 nothing passes."""

    type = "bandwidth"

    rate: Annotated[int, amount("kilobytes a second")] = 0

    def next(self, head: FaultItem | None, state: StreamState, now: float) -> Action | None:
        """Forward a piece when its last byte would have arrived; the end follows the last piece."""
        if head is None:
            return None
        if head.end is not None:
            return forward(max(state.free, head.arrived), 0)
        if self.rate == 0:
            return forward(NEVER, len(head.data))
        a_second = self.rate * 1000
        size = min(len(head.data), max(1, int(a_second * SLICE)))
        start = max(state.free, head.arrived, now - SLICE)
        at = start + size / a_second
        return forward(at, size, free=at)


FAULT = Bandwidth
