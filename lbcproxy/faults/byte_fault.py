"""A fault that acts on bytes: its attributes, and what it does with the head of its queue."""

from __future__ import annotations

import functools
from typing import ClassVar

import msgspec

from lbcproxy import discover
from lbcproxy.faults.action import Action, FaultItem, StreamState

__all__ = ["ByteFault", "amount", "byte_faults"]

MAX_AMOUNT = 2**53


def amount(unit: str, least: int = 0) -> msgspec.Meta:
    """Bound the value of an attribute and name its unit."""
    return msgspec.Meta(ge=least, le=MAX_AMOUNT, description=unit)


class ByteFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The attributes of a fault, with the names and units of toxiproxy.

    The docstring of a subclass is one sentence that says what the fault does; the documentation
    quotes it. A file in `by_byte/` exports its subclass as `FAULT`.
    """

    type: ClassVar[str]
    closes_when_removed: ClassVar[bool] = False
    """Whether removing it closes its sessions: what they have lost makes them useless."""

    def next(self, head: FaultItem | None, state: StreamState, now: float) -> Action | None:
        """Decide what happens to the head of the queue.

        Called once for each head, and again when the attributes change.

        Args:
            head: The oldest item in the queue; None if the queue is empty.
            state: What the fault remembers of this direction.
            now: The time in seconds.

        Returns:
            The action, or None to wait.
        """
        raise NotImplementedError


@functools.cache
def byte_faults() -> dict[str, type[ByteFault]]:
    """Return every fault that acts on bytes, by its type, in the order of the names."""
    found = discover.classes("lbcproxy.faults.by_byte", "FAULT", ByteFault)
    return {each.type: each for each in found}
