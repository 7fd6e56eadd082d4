"""What passes through a fault, and what a fault does with it. Times are seconds of any clock."""

from __future__ import annotations

import enum
from collections.abc import Callable
from random import Random

import msgspec

__all__ = [
    "NEVER",
    "Action",
    "CloseMode",
    "FaultItem",
    "StreamEnd",
    "StreamState",
    "close",
    "drop",
    "forward",
    "reset",
]

NEVER = float("inf")


class StreamEnd(msgspec.Struct, frozen=True):
    """The end of a direction: its sender's, or one that a fault makes."""

    then: Callable[[], object] | None = None
    """Called when everything before the end has been sent; None if a fault made the end."""
    by: str = ""
    """The fault's name."""
    reset: bool = False
    """Whether a fault resets the connection instead of closing it."""


class FaultItem(msgspec.Struct):
    """Bytes as they were read, or what is left of them; or the end of the direction."""

    arrived: float
    data: bytes | memoryview = b""
    end: StreamEnd | None = None


class StreamState(msgspec.Struct):
    """What one fault remembers of one direction of a session, also when it is reconfigured."""

    random: Random
    last: float = 0.0
    """When it began to act or was changed, or when something last passed."""
    free: float = 0.0
    """The earliest time at which more can be sent."""
    passed: int = 0
    """Bytes that it has forwarded while it was active."""


class CloseMode(enum.Enum):
    """How a fault ends a connection."""

    CLOSE = "close"
    RESET = "reset"


class Action(msgspec.Struct, frozen=True):
    """What a fault does with the head of its queue, and when."""

    at: float
    size: int = 0
    """Bytes of the head that it consumes."""
    drop: bool = False
    """Whether they are discarded instead of forwarded."""
    end: CloseMode | None = None
    """How the fault ends the direction after these bytes, if it does."""
    free: float = 0.0
    """The earliest time at which more can be sent."""


def forward(at: float, size: int, free: float = 0.0) -> Action:
    """Forward bytes, or the sender's end if the head is one."""
    return Action(at, size, free=free)


def drop(at: float, size: int) -> Action:
    """Discard bytes."""
    return Action(at, size, drop=True)


def close(at: float, size: int = 0) -> Action:
    """Close the connection after so many bytes."""
    return Action(at, size, end=CloseMode.CLOSE)


def reset(at: float) -> Action:
    """Reset the connection."""
    return Action(at, end=CloseMode.RESET)
