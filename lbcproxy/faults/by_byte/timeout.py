"""A node that has become unreachable."""

from __future__ import annotations

from typing import Annotated

from lbcproxy.faults.action import Action, FaultItem, StreamState, close, drop, forward
from lbcproxy.faults.byte_fault import ByteFault, amount

__all__ = ["FAULT", "Timeout"]


class Timeout(ByteFault, frozen=True):
    """Discard all bytes; close when none has arrived for `timeout`, or never if that is 0."""

    type = "timeout"
    closes_when_removed = True

    timeout: Annotated[int, amount("milliseconds")] = 0

    def next(self, head: FaultItem | None, state: StreamState, now: float) -> Action | None:
        """Discard bytes and forward the sender's end; close when the time is up."""
        if head is not None:
            size = len(head.data)
            return forward(head.arrived, 0) if head.end is not None else drop(head.arrived, size)
        return close(state.last + self.timeout / 1000) if self.timeout else None


FAULT = Timeout
