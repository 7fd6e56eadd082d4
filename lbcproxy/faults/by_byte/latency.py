"""A connection with a long round trip."""

from __future__ import annotations

from typing import Annotated

from lbcproxy.faults.action import Action, FaultItem, StreamState, forward
from lbcproxy.faults.byte_fault import ByteFault, amount

__all__ = ["FAULT", "Latency"]


class Latency(ByteFault, frozen=True):
    """Delay everything by `latency`, plus or minus up to `jitter`; the order stays."""

    type = "latency"

    latency: Annotated[int, amount("milliseconds")] = 0
    jitter: Annotated[int, amount("milliseconds")] = 0

    def next(self, head: FaultItem | None, state: StreamState, now: float) -> Action | None:
        """Delay bytes from their arrival; the end only waits for the bytes before it."""
        if head is None:
            return None
        if head.end is not None:
            return forward(head.arrived, 0)
        delay = self.latency
        if self.jitter:
            delay += state.random.randrange(-self.jitter, self.jitter)
        return forward(head.arrived + max(0, delay) / 1000, len(head.data))


FAULT = Latency
