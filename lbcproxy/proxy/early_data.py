"""Data that a client sends before its upstream is connected."""

from __future__ import annotations

__all__ = ["EarlyData"]

MAX_BUFFERED = 262_144
"""Bytes above which no more is read from the client."""


class EarlyData:
    """Bytes that wait for the upstream, in order."""

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[bytes] = []

    @property
    def is_full(self) -> bool:
        """Whether reading from the client should stop."""
        return self.size > MAX_BUFFERED

    def add(self, data: bytes) -> None:
        """Keep bytes."""
        self._parts.append(data)
        self.size += len(data)

    def take(self) -> list[bytes]:
        """Return all bytes that wait, and empty the buffer."""
        parts, self._parts, self.size = self._parts, [], 0
        return parts
