"""Bloom filters of light clients (BIP37): `filterload`, `filteradd`, `filterclear`."""

from __future__ import annotations

from typing import Annotated, ClassVar

from lbcproxy.text import printable
from lbcproxy.wire.errors import FieldError
from lbcproxy.wire.fields import UInt8, UInt32, VarBytes
from lbcproxy.wire.record import MessageRecord
from lbcproxy.wire.rules import Limit

__all__ = ["FilterAdd", "FilterClear", "FilterLoad"]

MAX_HASH_FUNCS = 50


class FilterLoad(MessageRecord, frozen=True, gc=False):
    """Sets the filter of the connection; flags say whether matches are added to the filter."""

    command: ClassVar[str] = "filterload"
    maximum: ClassVar[Limit] = 36_012
    since: ClassVar[int] = 70001

    filter: Annotated[bytes, VarBytes(36_000)]
    hash_funcs: UInt32
    tweak: UInt32
    flags: UInt8

    def summary(self) -> str:
        """Return the size of the filter, the number of hash functions and the flags."""
        return f"{len(self.filter)} bytes, {self.hash_funcs} hash functions, flags={self.flags}"

    def check(self) -> None:
        """Check the number of hash functions."""
        if self.hash_funcs > MAX_HASH_FUNCS:
            raise FieldError(
                f"{self.hash_funcs} hash functions, at most {MAX_HASH_FUNCS} allowed"
            ).inside("hash_funcs")


class FilterAdd(MessageRecord, frozen=True, gc=False):
    """Adds an element to the filter."""

    command: ClassVar[str] = "filteradd"
    maximum: ClassVar[Limit] = 523
    since: ClassVar[int] = 70001

    data: Annotated[bytes, VarBytes(520)]

    def summary(self) -> str:
        """Return the element in hexadecimal."""
        return f"data={printable(self.data.hex(), 64)}"


class FilterClear(MessageRecord, frozen=True, gc=False):
    """Removes the filter. Empty."""

    command: ClassVar[str] = "filterclear"
    maximum: ClassVar[Limit] = 0
    since: ClassVar[int] = 70001
