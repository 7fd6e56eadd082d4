"""What one has and what one wants: `inv`, `getdata`, `notfound`. lbcd `wire/msginv.go`."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, ClassVar

from lbcproxy.wire.fields import Hash, UInt32, count_in
from lbcproxy.wire.hashes import display
from lbcproxy.wire.record import MessageRecord, Record, at_most
from lbcproxy.wire.rules import Limit, Params

__all__ = ["GetData", "Inv", "InvType", "InventoryVector", "NotFound", "kind_name"]

WITNESS_FLAG = 1 << 30


class InvType(IntEnum):
    """The kinds of inventory by their number on the wire; others are legal and kept."""

    ERROR = 0
    TX = 1
    BLOCK = 2
    FILTERED_BLOCK = 3
    CMPCT_BLOCK = 4
    WTX = 5
    WITNESS_TX = WITNESS_FLAG | 1
    WITNESS_BLOCK = WITNESS_FLAG | 2
    FILTERED_WITNESS_BLOCK = WITNESS_FLAG | 3


def kind_name(number: int) -> str:
    """Name a kind of inventory, in words."""
    try:
        return InvType(number).name.lower().replace("_", " ")
    except ValueError:
        return f"unknown ({number})"


class InventoryVector(Record, frozen=True, gc=False):
    """One thing by kind (`InvType`, or any other number) and hash: 36 bytes."""

    type: Annotated[UInt32, InvType]
    hash: Hash


class _Inventory(MessageRecord, frozen=True, gc=False):
    """A list of things, at most 50,000."""

    maximum: ClassVar[Limit] = 1_800_009

    inventory: Annotated[tuple[InventoryVector, ...], at_most(50_000)]

    def summary(self) -> str:
        """Name the only thing, or count them."""
        if not self.inventory:
            return "empty"
        if len(self.inventory) > 1:
            return f"size {len(self.inventory)}"
        [thing] = self.inventory
        return f"{kind_name(thing.type)} {display(thing.hash)}"

    @classmethod
    def glance(cls, head: bytes, params: Params) -> str:
        """Count the things."""
        return f"size {count_in(head)}"


class Inv(_Inventory, frozen=True, gc=False):
    """What the sender has, at most 50,000 entries."""

    command: ClassVar[str] = "inv"


class GetData(_Inventory, frozen=True, gc=False):
    """What the sender asks for, at most 50,000 entries."""

    command: ClassVar[str] = "getdata"


class NotFound(_Inventory, frozen=True, gc=False):
    """What was asked for and is not there, at most 50,000 entries."""

    command: ClassVar[str] = "notfound"
