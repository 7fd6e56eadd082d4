"""A connection that closes in the middle of the data."""

from __future__ import annotations

from typing import Annotated

from lbcproxy.faults.action import Action, FaultItem, StreamState, close, forward
from lbcproxy.faults.byte_fault import ByteFault, amount

__all__ = ["FAULT", "LimitData"]


class LimitData(ByteFault, frozen=True):
    """Close the connection when `bytes` have passed."""

    type = "limit_data"

    bytes: Annotated[int, amount("bytes")] = 0

    def next(self, head: FaultItem | None, state: StreamState, now: float) -> Action | None:
        """Forward what is left of the limit, then close; a limit of 0 closes at the first byte."""
        left = max(0, self.bytes - state.passed)
        if head is None:
            return None
        if head.end is not None:
            return forward(head.arrived, 0)
        if len(head.data) < left:
            return forward(head.arrived, len(head.data))
        return close(head.arrived, left)


FAULT = LimitData
