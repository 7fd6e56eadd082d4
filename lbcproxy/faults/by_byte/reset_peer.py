"""A connection that is reset."""

from __future__ import annotations

from typing import Annotated

from lbcproxy.faults.action import Action, FaultItem, StreamState, reset
from lbcproxy.faults.byte_fault import ByteFault, amount

__all__ = ["FAULT", "ResetPeer"]


class ResetPeer(ByteFault, frozen=True):
    """Reset both legs `timeout` after the first bytes arrived; the bytes are lost."""

    type = "reset_peer"

    timeout: Annotated[int, amount("milliseconds")] = 0

    def next(self, head: FaultItem | None, state: StreamState, now: float) -> Action | None:
        """Wait from the arrival of the first bytes."""
        return None if head is None else reset(head.arrived + self.timeout / 1000)


FAULT = ResetPeer
