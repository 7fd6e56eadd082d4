"""Announcing inventory: in batches, and never what the node is known to have."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from lbcproxy.peer.caches import KnownSet
from lbcproxy.wire.messages.inventory import Inv, InventoryVector, InvType

__all__ = ["PeerInventory"]

MAX_KNOWN = 1000
BATCH_SIZE = 1000
IMMEDIATE = (InvType.BLOCK, InvType.WITNESS_BLOCK)


class PeerInventory:
    """The announcements that wait for a node, and what it is known to have."""

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._known: KnownSet[InventoryVector] = KnownSet(MAX_KNOWN)
        # A dict finds its first key ever more slowly while first keys are removed.
        self._waiting: OrderedDict[InventoryVector, None] = OrderedDict()
        self.dropped = 0
        """Announcements that were dropped because too many waited."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add_known(self, vector: InventoryVector) -> None:
        """Record that the node has something."""
        self._known.add(vector)

    def queue(self, vector: InventoryVector) -> Inv | None:
        """Queue an announcement; return the message to send at once if it is of a block."""
        if vector in self._known:
            return None
        if vector.type in IMMEDIATE:
            return Inv((vector,))
        self._waiting.setdefault(vector)
        if len(self._waiting) > self._max_waiting:
            self._waiting.popitem(last=False)
            self.dropped += 1
        return None

    def trickle(self) -> Iterable[Inv]:
        """Return the announcements that wait. The node is taken to know them from now on."""
        due = [vector for vector in self._waiting if vector not in self._known]
        self._waiting.clear()
        for vector in due:
            self.add_known(vector)
        starts = range(0, len(due), BATCH_SIZE)
        return [Inv(tuple(due[start : start + BATCH_SIZE])) for start in starts]

    def clear(self) -> None:
        """Discard the announcements that wait."""
        self._waiting.clear()
