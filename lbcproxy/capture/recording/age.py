"""How old captures are, where the wall clock may be wrong or jump.

A board without a battery starts in 1970, or where it was switched off, until it hears the time; a
clock may be set wrong and right again. What this process has written is as old as a clock says
that never jumps. Files of earlier runs are as old as the wall clock says, while that can be
believed.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

__all__ = ["Ages", "Written", "steady_seconds"]

PLAUSIBLE_NS = 1_577_836_800 * 1_000_000_000
"""2020: no capture of lbcproxy is older, and no clock that shows less is right."""
JUMP = 60.0
"""Seconds by which the wall clock has jumped if it moves so much more or less than time does."""
STEADY = 3600.0
"""Seconds that it must not jump again before it is believed."""
MAX_FILES = 1 << 16

Key = tuple[int, int]


def steady_seconds() -> float:
    """Return seconds by a clock that never jumps, and goes on while the machine sleeps."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Written:
    """The files that this process has finished, and when, by a `clock` that never jumps."""

    def __init__(self, clock: Callable[[], float] = steady_seconds) -> None:
        self.clock = clock
        self._files: OrderedDict[Key, float] = OrderedDict()

    def add(self, path: str) -> None:
        """Take note of a file that is finished now."""
        try:
            key = _key(Path(path).stat())
        except OSError:
            return  # it has been taken away
        self._put(key, self.clock())

    def copied(self, original: os.stat_result, copy: Path) -> None:
        """Have a copy be as old as its original."""
        at = self._files.pop(_key(original), None)
        if at is not None:
            self._put(_key(copy.stat()), at)

    def at(self, state: os.stat_result) -> float | None:
        """Return when a file was finished; None if this process did not write it."""
        return self._files.get(_key(state))

    def forget(self, state: os.stat_result) -> None:
        """Forget a file that is deleted: the system uses its number again."""
        self._files.pop(_key(state), None)

    def _put(self, key: Key, at: float) -> None:
        self._files[key] = at
        self._files.move_to_end(key)
        if len(self._files) > MAX_FILES:
            self._files.popitem(last=False)


class Ages:
    """How old files are; `now` gives nanoseconds since 1970."""

    def __init__(self, now: Callable[[], int], written: Written) -> None:
        self._now = now
        self._clock = written.clock
        self._written = written
        self._offset = self._apart()
        self._believed_from = float("-inf")
        self._seen: OrderedDict[Key, float] = OrderedDict()

    def of(self, state: os.stat_result) -> float:
        """Return how many seconds ago a file was written last, or a part of that if in doubt."""
        at = self._written.at(state)
        if at is not None:
            return self._clock() - at
        since_seen = self._clock() - self._first_seen(_key(state))
        now = self._now()
        if not self._is_believed(now):
            return 0.0
        if PLAUSIBLE_NS <= state.st_mtime_ns <= now:
            return (now - state.st_mtime_ns) / 1e9
        return since_seen  # it was written when the clock was wrong

    def order(self, state: os.stat_result) -> tuple[bool, float]:
        """Return what sorts files from the oldest: those of earlier runs come first."""
        at = self._written.at(state)
        return (False, float(state.st_mtime_ns)) if at is None else (True, at)

    def _is_believed(self, now: int) -> bool:
        """Whether the wall clock may be right: it is plausible and has not jumped of late."""
        apart = self._apart()
        if abs(apart - self._offset) > JUMP:
            self._believed_from = self._clock() + STEADY
        self._offset = apart  # a clock that only drifts does not jump
        return now >= PLAUSIBLE_NS and self._clock() >= self._believed_from

    def _apart(self) -> float:
        return self._now() / 1e9 - self._clock()

    def _first_seen(self, key: Key) -> float:
        found = self._seen.setdefault(key, self._clock())
        if len(self._seen) > MAX_FILES:
            self._seen.popitem(last=False)
        return found


def _key(state: os.stat_result) -> Key:
    return state.st_dev, state.st_ino
