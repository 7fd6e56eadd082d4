"""Everything comes later."""

from __future__ import annotations

from typing import Annotated

from lbcproxy.faults.kind import Kind, amount
from lbcproxy.faults.step import Item, Memory, Step, passes

__all__ = ["KIND", "Latency"]


class Latency(Kind, frozen=True):
    """Delay everything by `latency`, plus or minus up to `jitter`; the order stays."""

    type = "latency"

    latency: Annotated[int, amount("milliseconds")] = 0
    jitter: Annotated[int, amount("milliseconds")] = 0

    def next(self, head: Item | None, memory: Memory, now: float) -> Step | None:
        """Wait from when it came; the end waits for nothing but what is before it."""
        if head is None:
            return None
        if head.end is not None:
            return passes(head.arrived, 0)
        delay = self.latency
        if self.jitter:
            delay += memory.random.randrange(-self.jitter, self.jitter)
        return passes(head.arrived + max(0, delay) / 1000, len(head.data))


KIND = Latency
