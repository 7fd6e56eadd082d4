"""How a peer behaves towards the node at its other end."""

from __future__ import annotations

from enum import Enum

__all__ = ["Policy"]


class Policy(Enum):
    """What a peer does of its own accord. Those that speak come with the full endpoint."""

    TRANSPARENT = "transparent"
    """Watches, and never originates a byte."""
