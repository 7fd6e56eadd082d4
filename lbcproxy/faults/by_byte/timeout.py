"""A node that cannot be reached any more."""

from __future__ import annotations

from typing import Annotated

from lbcproxy.faults.kind import Kind, amount
from lbcproxy.faults.step import Item, Memory, Step, closes, drops, passes

__all__ = ["KIND", "Timeout"]


class Timeout(Kind, frozen=True):
    """Throw all bytes away; close when none has come for `timeout`, at 0 never."""

    type = "timeout"
    closes_when_removed = True

    timeout: Annotated[int, amount("milliseconds")] = 0

    def next(self, head: Item | None, memory: Memory, now: float) -> Step | None:
        """The sender's own end passes."""
        if head is not None:
            size = len(head.data)
            return passes(head.arrived, 0) if head.end is not None else drops(head.arrived, size)
        return closes(memory.last + self.timeout / 1000) if self.timeout else None


KIND = Timeout
