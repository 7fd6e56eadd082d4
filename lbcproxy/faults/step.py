"""What passes a fault, and what a fault may answer about it. Times are seconds of any clock."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec

__all__ = ["NEVER", "Item", "Memory", "Step", "StreamEnd", "closes", "drops", "passes", "resets"]

NEVER = float("inf")


class StreamEnd(msgspec.Struct, frozen=True):
    """The end of a direction: its sender's, or one that a fault makes."""

    then: Callable[[], object] | None = None
    """What is to be done when everything before it has gone out; None if a fault ends it."""
    by: str = ""
    """The fault's name."""
    reset: bool = False
    """Whether a fault breaks off, and does not close in order."""


class Item(msgspec.Struct):
    """Bytes as they were read, or what is left of them; or the end."""

    arrived: float
    data: bytes | memoryview = b""
    end: StreamEnd | None = None


class Memory(msgspec.Struct):
    """What one fault keeps of one direction of a session; a change of its attributes keeps it."""

    random: Random
    last: float = 0.0
    """When it began to act, was changed, or something last came through."""
    free: float = 0.0
    """From when on the next may go."""
    passed: int = 0
    """Bytes it has passed on while it acted."""


class Step(msgspec.Struct, frozen=True):
    """What becomes of the head of what waits, and when."""

    at: float
    size: int = 0
    """How many bytes of it are used up."""
    drop: bool = False
    """Whether they are thrown away."""
    end: str = ""
    """`close` or `reset` if the fault ends the direction, behind these bytes."""
    free: float = 0.0
    """From when on the next may go."""


def passes(at: float, size: int, free: float = 0.0) -> Step:
    """Pass bytes on, or the sender's end if there are none."""
    return Step(at, size, free=free)


def drops(at: float, size: int) -> Step:
    """Throw bytes away."""
    return Step(at, size, drop=True)


def closes(at: float, size: int = 0) -> Step:
    """Close the connection, behind so many bytes."""
    return Step(at, size, end="close")


def resets(at: float) -> Step:
    """Break the connection off."""
    return Step(at, end="reset")
