"""A kind of fault: its attributes, and what it does with what waits before it."""

from __future__ import annotations

import functools
from typing import ClassVar

import msgspec

from lbcproxy.discover import entries
from lbcproxy.faults.step import Item, Memory, Step

__all__ = ["Kind", "all_kinds", "amount"]

MOST = 2**53


def amount(unit: str, least: int = 0) -> msgspec.Meta:
    """Bound the value of an attribute, and say in what it is counted."""
    return msgspec.Meta(ge=least, le=MOST, description=unit)


class Kind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The attributes of a fault, by the names and in the units of toxiproxy.

    The docstring of a subclass says what it does, in one sentence.
    """

    type: ClassVar[str]
    closes_when_removed: ClassVar[bool] = False
    """Whether sessions do not outlive it: what they have lost makes them useless."""

    def next(self, head: Item | None, memory: Memory, now: float) -> Step | None:
        """Say what becomes of the first that waits, or of a direction in which nothing does.

        Asked once for each head, and again when the attributes are changed; None is to wait.
        """
        raise NotImplementedError


@functools.cache
def all_kinds() -> dict[str, type[Kind]]:
    """Give every kind by its type, in the order of their names."""
    return {module.KIND.type: module.KIND for module in entries("lbcproxy.faults.by_byte")}
