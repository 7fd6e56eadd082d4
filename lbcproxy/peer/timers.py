"""Deadlines by name. No clock: the time is handed in, and whoever asks arranges to be woken."""

from __future__ import annotations

__all__ = ["RUN_WHILE_READING", "Timers"]

RUN_WHILE_READING = frozenset({"idle", "stall"})
"""Deadlines that do not run while we do not read."""


class Timers:
    """Deadlines in seconds of one clock; some do not run while we do not read."""

    def __init__(self, waiting: frozenset[str]) -> None:
        self._waiting = waiting
        self._deadlines: dict[str, float] = {}
        self._away: set[str] = set()
        self._since = 0.0

    def leave(self, why: str, now: float) -> None:
        """Take note that we do not read for a reason, so that nobody is blamed for silence."""
        if not self._away:
            self._since = now
        self._away.add(why)

    def back(self, why: str, now: float) -> float | None:
        """Take a reason back; with the last give the seconds we have not read, else None."""
        if why not in self._away:
            return None
        self._away.remove(why)
        return None if self._away else now - self._since

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
        return [name for name in self._deadlines if not (self._away and name in self._waiting)]
