"""A connection that does not close in time."""

from __future__ import annotations

from typing import Annotated

from lbcproxy.faults.kind import Kind, amount
from lbcproxy.faults.step import Item, Memory, Step, passes

__all__ = ["KIND", "SlowClose"]


class SlowClose(Kind, frozen=True):
    """Pass the end of the connection on only after `delay`."""

    type = "slow_close"

    delay: Annotated[int, amount("milliseconds")] = 0

    def next(self, head: Item | None, memory: Memory, now: float) -> Step | None:
        """Bytes pass."""
        if head is None:
            return None
        wait = 0 if head.end is None else self.delay
        return passes(head.arrived + wait / 1000, len(head.data))


KIND = SlowClose
