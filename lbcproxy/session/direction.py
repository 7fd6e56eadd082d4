"""The two directions of a session."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Direction"]


class Direction(StrEnum):
    """Where a message goes: from the client to the upstream, or back."""

    TO_UPSTREAM = "to_upstream"
    TO_CLIENT = "to_client"

    @property
    def other(self) -> Direction:
        """The opposite direction."""
        return _OTHER[self]

    @property
    def arrow(self) -> str:
        """The direction as it is printed: `->` for bytes that the client sent."""
        return "->" if self is Direction.TO_UPSTREAM else "<-"


_OTHER = {
    Direction.TO_UPSTREAM: Direction.TO_CLIENT,
    Direction.TO_CLIENT: Direction.TO_UPSTREAM,
}
