"""Announcing inventory: in batches, now and then, and not what the node has (PEER.md L)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from lbcproxy.peer.caches import KnownSet
from lbcproxy.wire.messages.inventory import Inv, InventoryVector, InvType

__all__ = ["Inventory"]

KNOWN = 1000
A_BATCH = 1000
AT_ONCE = (InvType.BLOCK, InvType.WITNESS_BLOCK)


class Inventory:
    """What waits to be announced to a node, and what it is known to have."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: KnownSet[InventoryVector] = KnownSet(KNOWN)
        # Not a dict, of which the first key is found ever more slowly while first keys are taken.
        self._waiting: OrderedDict[InventoryVector, None] = OrderedDict()
        self.let_go = 0
        """Announcements that did not wait any more because too many did."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add_known(self, thing: InventoryVector) -> None:
        """Take note that the node has it."""
        self._known.add(thing)

    def queue(self, thing: InventoryVector) -> Inv | None:
        """Take something to be announced; give the message to send at once, if it is a block."""
        if thing in self._known:
            return None
        if thing.type in AT_ONCE:
            return Inv((thing,))
        self._waiting.setdefault(thing)
        if len(self._waiting) > self._most:
            self._waiting.popitem(last=False)
            self.let_go += 1
        return None

    def trickle(self) -> Iterable[Inv]:
        """Give the announcements that are due, and take the node to have them from now on."""
        due = [thing for thing in self._waiting if thing not in self._known]
        self._waiting.clear()
        for thing in due:
            self.add_known(thing)
        return [Inv(tuple(due[begin : begin + A_BATCH])) for begin in range(0, len(due), A_BATCH)]

    def forget(self) -> None:
        """Announce nothing of what waits."""
        self._waiting.clear()
