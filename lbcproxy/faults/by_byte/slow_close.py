"""A connection that closes late."""

from __future__ import annotations

from typing import Annotated

from lbcproxy.faults.action import Action, FaultItem, StreamState, forward
from lbcproxy.faults.byte_fault import ByteFault, amount

__all__ = ["FAULT", "SlowClose"]


class SlowClose(ByteFault, frozen=True):
    """Delay the end of the connection by `delay`."""

    type = "slow_close"

    delay: Annotated[int, amount("milliseconds")] = 0

    def next(self, head: FaultItem | None, state: StreamState, now: float) -> Action | None:
        """Forward bytes at once, and the end after the delay."""
        if head is None:
            return None
        wait = 0 if head.end is None else self.delay
        return forward(head.arrived + wait / 1000, len(head.data))


FAULT = SlowClose
