"""Inventory, announced and requested: `inv`, `getdata`, `notfound`. lbcd `wire/msginv.go`."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, ClassVar

from lbcproxy.wire.fields import Hash, UInt32, count_in
from lbcproxy.wire.hashes import display
from lbcproxy.wire.record import MessageRecord, Record, at_most
from lbcproxy.wire.rules import Limit, Params

__all__ = ["GetData", "Inv", "InvType", "InventoryVector", "NotFound", "type_name"]

WITNESS_FLAG = 1 << 30


class InvType(IntEnum):
    """The types of inventory by their number on the wire. Other numbers are valid and kept."""

    ERROR = 0
    TX = 1
    BLOCK = 2
    FILTERED_BLOCK = 3
    CMPCT_BLOCK = 4
    WTX = 5
    WITNESS_TX = WITNESS_FLAG | 1
    WITNESS_BLOCK = WITNESS_FLAG | 2
    FILTERED_WITNESS_BLOCK = WITNESS_FLAG | 3


def type_name(number: int) -> str:
    """Return the name of an inventory type in lower case, such as `witness block`."""
    try:
        return InvType(number).name.lower().replace("_", " ")
    except ValueError:
        return f"unknown ({number})"


class InventoryVector(Record, frozen=True, gc=False):
    """An object by type (`InvType`, or any other number) and hash: 36 bytes."""

    type: Annotated[UInt32, InvType]
    hash: Hash


class _Inventory(MessageRecord, frozen=True, gc=False):
    """A list of objects, at most 50,000."""

    maximum: ClassVar[Limit] = 1_800_009

    inventory: Annotated[tuple[InventoryVector, ...], at_most(50_000)]

    def summary(self) -> str:
        """Return the only object, or the number of objects."""
        if not self.inventory:
            return "empty"
        if len(self.inventory) > 1:
            return f"size {len(self.inventory)}"
        [vector] = self.inventory
        return f"{type_name(vector.type)} {display(vector.hash)}"

    @classmethod
    def glance(cls, head: bytes, params: Params) -> str:
        """Return the number of objects."""
        return f"size {count_in(head)}"


class Inv(_Inventory, frozen=True, gc=False):
    """Announces objects that the sender has, at most 50,000."""

    command: ClassVar[str] = "inv"


class GetData(_Inventory, frozen=True, gc=False):
    """Requests objects, at most 50,000."""

    command: ClassVar[str] = "getdata"


class NotFound(_Inventory, frozen=True, gc=False):
    """Lists requested objects that the sender does not have, at most 50,000."""

    command: ClassVar[str] = "notfound"
