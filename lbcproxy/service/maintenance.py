"""Compression and deletion of finished captures, in a background thread."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from lbcproxy.background import Background
from lbcproxy.capture import CaptureFile, Retention, RetentionPolicy
from lbcproxy.capture.recording.file import Notify
from lbcproxy.capture.recording.file_ages import FinishedFiles, monotonic_seconds

__all__ = ["Maintenance"]

STOP_TIMEOUT = 2.0
"""Seconds that the program waits for the thread when it exits."""
REST_FACTOR = 9
"""The thread rests this many times as long as it has worked."""
MAX_REST = 60.0
NICE = 10
"""The lower priority of the thread, where the system has priorities for threads."""


class Maintenance:
    """Applies the retention policy of each recording after one of its files is closed.

    Args:
        notify: Called, in the thread, with what was done and whether it is an error.
        now: Returns the time in nanoseconds since 1970.
        clock: Returns the seconds of a clock that is never set back.
    """

    def __init__(
        self, notify: Notify, now: Callable[[], int], clock: Callable[[], float] = monotonic_seconds
    ) -> None:
        self._notify = notify
        self._now = now
        self._thread = Background(0)
        self._retentions: dict[tuple[object, ...], Retention] = {}
        self._scheduled: set[Retention] = set()
        self._stopping = threading.Event()
        self._finished = FinishedFiles(clock)
        self._note: Callable[[CaptureFile | None], object] = self._note_written

    def apply(
        self, pattern: str, policy: RetentionPolicy, *, network: str, name: str
    ) -> Callable[[CaptureFile | None], object]:
        """Apply a policy to the files of a pattern; return what to call when one is closed."""
        if pattern == "-":
            return bool
        if not policy:
            return self._note  # another policy may apply to it later
        key = (pattern, policy, network, name)
        retention = self._retentions.get(key)
        if retention is None:
            retention = self._retentions[key] = Retention(
                pattern,
                policy,
                self._notify,
                network=network,
                name=name,
                now=self._now,
                finished=self._finished,
                should_continue=lambda: not self._stopping.is_set(),
            )

        def closed(file: CaptureFile | None) -> None:
            self._note(file)
            self._schedule(retention)

        return closed

    def run_all(self) -> None:
        """Apply all policies."""
        for retention in self._retentions.values():
            self._schedule(retention)

    def close(self) -> None:
        """Stop; unfinished work is done after the next start."""
        self._stopping.set()
        self._thread.close(STOP_TIMEOUT)

    def _note_written(self, file: CaptureFile | None) -> None:
        if file is not None:
            self._finished.add(file.path)

    def _schedule(self, retention: Retention) -> None:
        if retention not in self._scheduled and not self._stopping.is_set():
            self._scheduled.add(retention)
            self._thread.call(partial(self._run, retention))

    def _run(self, retention: Retention) -> None:
        self._scheduled.discard(retention)
        if not self._stopping.is_set():
            with suppress(OSError, AttributeError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
            started = time.monotonic()
            retention.apply()
            # A folder with very many files takes long to scan, and may change all the time.
            self._stopping.wait(min(REST_FACTOR * (time.monotonic() - started), MAX_REST))
