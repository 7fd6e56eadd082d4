"""What a client says before its upstream is connected."""

from __future__ import annotations

__all__ = ["EarlyData"]

_ENOUGH = 262_144


class EarlyData:
    """Bytes that wait for an upstream, in order."""

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[bytes] = []

    @property
    def is_full(self) -> bool:
        """Whether no more should be read."""
        return self.size > _ENOUGH

    def add(self, data: bytes) -> None:
        """Keep bytes."""
        self._parts.append(data)
        self.size += len(data)

    def take(self) -> list[bytes]:
        """Return all that waits, and forget it."""
        parts, self._parts, self.size = self._parts, [], 0
        return parts
