"""Small packets."""

from __future__ import annotations

from typing import Annotated

from lbcproxy.faults.action import Action, FaultItem, StreamState, forward
from lbcproxy.faults.byte_fault import ByteFault, amount

__all__ = ["FAULT", "Slicer"]


class Slicer(ByteFault, frozen=True):
    """Cut what is sent into pieces of `average_size`, plus or minus up to `size_variation`."""

    type = "slicer"

    average_size: Annotated[int, amount("bytes; must be given", least=1)]
    size_variation: Annotated[int, amount("bytes, fewer than average_size")] = 0
    delay: Annotated[int, amount("microseconds between two pieces")] = 0

    def __post_init__(self) -> None:
        if self.size_variation >= self.average_size:
            raise ValueError("size_variation: Expected fewer bytes than average_size")

    def next(self, head: FaultItem | None, state: StreamState, now: float) -> Action | None:
        """Forward a piece, and the next one after the delay."""
        if head is None:
            return None
        at = max(state.free, head.arrived)
        if head.end is not None:
            return forward(at, 0)
        size = self.average_size
        if self.size_variation:
            size += state.random.randint(-self.size_variation, self.size_variation)
        return forward(at, min(size, len(head.data)), free=at + self.delay / 1e6)


FAULT = Slicer
