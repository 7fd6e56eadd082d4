"""Deadlines by name. No clock: the time is handed in, and whoever asks arranges to be woken."""

from __future__ import annotations

__all__ = ["Timers"]


class Timers:
    """Deadlines in seconds of one clock; some do not run while we do not read."""

    def __init__(self, waiting: frozenset[str]) -> None:
        self._waiting = waiting
        self._deadlines: dict[str, float] = {}
        self.away_since: float | None = None
        """Since when we have not read, so that nobody is blamed for silence; None if we do."""

    def set(self, name: str, time: float) -> None:
        """Have something due at a time, in place of what was set for it."""
        self._deadlines[name] = time

    def cancel(self, name: str) -> None:
        """Have something never due."""
        self._deadlines.pop(name, None)

    def clear(self) -> None:
        """Have nothing due."""
        self._deadlines.clear()

    @property
    def next(self) -> float | None:
        """When the first is due, or None."""
        return min((self._deadlines[name] for name in self._running()), default=None)

    def due(self, now: float) -> list[str]:
        """Give the names that are due, the earliest first; whoever acts sets them anew."""
        names = [name for name in self._running() if now >= self._deadlines[name]]
        return sorted(names, key=lambda name: self._deadlines[name])

    def _running(self) -> list[str]:
        away = self.away_since is not None
        return [name for name in self._deadlines if not (away and name in self._waiting)]
