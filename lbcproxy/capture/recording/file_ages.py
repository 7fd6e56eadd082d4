"""How old captures are, where the wall clock may be wrong or jump.

Until it learns the time, a board without a battery starts in 1970, or at the time when it was
switched off. A clock may also be set wrong and corrected later. The age of a file that this process
has written is measured by a clock that never jumps. The age of a file of an earlier run is measured
by the wall clock, while that is plausible.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

__all__ = ["FileAges", "FinishedFiles", "monotonic_seconds"]

PLAUSIBLE_NS = 1_577_836_800 * 1_000_000_000
"""2020: no capture of lbcproxy is older, so a clock that shows less is wrong."""
JUMP = 60.0
"""The wall clock has jumped if it is off by this many seconds more than before."""
TRUST_DELAY = 3600.0
"""Seconds without a jump until the wall clock is trusted again."""
MAX_FILES = 1 << 16

Key = tuple[int, int]


def monotonic_seconds() -> float:
    """Return the seconds of a clock that never jumps and runs while the machine sleeps."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class FinishedFiles:
    """The files that this process has finished, and when, by a clock that never jumps."""

    def __init__(self, clock: Callable[[], float] = monotonic_seconds) -> None:
        self.clock = clock
        self._files: OrderedDict[Key, float] = OrderedDict()

    def add(self, path: str) -> None:
        """Remember that a file is finished now."""
        try:
            key = _key(Path(path).stat())
        except OSError:
            return  # it has been removed
        self._put(key, self.clock())

    def add_copy(self, original: os.stat_result, copy: Path) -> None:
        """Give a copy the age of its original, which is forgotten."""
        at = self._files.pop(_key(original), None)
        if at is not None:
            self._put(_key(copy.stat()), at)

    def finished_at(self, state: os.stat_result) -> float | None:
        """Return when a file was finished, in seconds; None if this process did not write it."""
        return self._files.get(_key(state))

    def forget(self, state: os.stat_result) -> None:
        """Forget a deleted file: the system may reuse its inode number."""
        self._files.pop(_key(state), None)

    def _put(self, key: Key, at: float) -> None:
        self._files[key] = at
        self._files.move_to_end(key)
        if len(self._files) > MAX_FILES:
            self._files.popitem(last=False)


class FileAges:
    """How old files are; `now` returns nanoseconds since 1970."""

    def __init__(self, now: Callable[[], int], finished: FinishedFiles) -> None:
        self._now = now
        self._clock = finished.clock
        self._finished = finished
        self._offset = self._current_offset()
        self._trusted_from = float("-inf")
        self._first_seen: OrderedDict[Key, float] = OrderedDict()

    def of(self, state: os.stat_result) -> float:
        """Return how many seconds ago a file was last written; fewer if in doubt."""
        at = self._finished.finished_at(state)
        if at is not None:
            return self._clock() - at
        since_seen = self._clock() - self._seen_at(_key(state))
        now = self._now()
        if not self._is_trusted(now):
            return 0.0
        if PLAUSIBLE_NS <= state.st_mtime_ns <= now:
            return (now - state.st_mtime_ns) / 1e9
        return since_seen  # it was written while the clock was wrong

    def order(self, state: os.stat_result) -> tuple[bool, float]:
        """Return a sort key that puts the oldest file first; those of earlier runs come first."""
        at = self._finished.finished_at(state)
        return (False, float(state.st_mtime_ns)) if at is None else (True, at)

    def _is_trusted(self, now: int) -> bool:
        """Return whether the wall clock may be right: plausible, and no jump recently."""
        offset = self._current_offset()
        if abs(offset - self._offset) > JUMP:
            self._trusted_from = self._clock() + TRUST_DELAY
        self._offset = offset  # a clock that only drifts does not jump
        return now >= PLAUSIBLE_NS and self._clock() >= self._trusted_from

    def _current_offset(self) -> float:
        return self._now() / 1e9 - self._clock()

    def _seen_at(self, key: Key) -> float:
        found = self._first_seen.setdefault(key, self._clock())
        if len(self._first_seen) > MAX_FILES:
            self._first_seen.popitem(last=False)
        return found


def _key(state: os.stat_result) -> Key:
    return state.st_dev, state.st_ino
