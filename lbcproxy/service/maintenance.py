"""What becomes of captures that are whole, done in a thread that nobody waits for."""

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

PATIENCE = 2.0
"""Seconds that the end waits for it to stop."""
REST = 9
"""How many times as long as it has worked it rests."""
LONGEST_REST = 60.0
NICE = 10
"""How much the thread stands back where the system can tell threads apart."""


class Maintenance:
    """Tidies, for each pattern of files, when one of them is closed, and when it is asked to."""

    def __init__(
        self, told: Notify, now: Callable[[], int], clock: Callable[[], float] = monotonic_seconds
    ) -> None:
        self._told = told
        self._now = now
        self._thread = Background(0)
        self._tidiers: dict[tuple[object, ...], Retention] = {}
        self._waiting: set[Retention] = set()
        self._over = threading.Event()
        self._written = FinishedFiles(clock)
        self._note: Callable[[CaptureFile | None], object] = self._was_written

    def keep(
        self, pattern: str, keeping: RetentionPolicy, *, network: str, name: str
    ) -> Callable[[CaptureFile | None], object]:
        """Tidy the files of a pattern; give who is to be told of each that is closed."""
        if pattern == "-":
            return bool
        if not keeping:
            return self._note  # it may be kept otherwise later
        key = (pattern, keeping, network, name)
        tidier = self._tidiers.get(key)
        if tidier is None:
            tidier = self._tidiers[key] = Retention(
                pattern,
                keeping,
                self._told,
                network=network,
                name=name,
                now=self._now,
                finished=self._written,
                should_continue=lambda: not self._over.is_set(),
            )

        def closed(file: CaptureFile | None) -> None:
            self._note(file)
            self._soon(tidier)

        return closed

    def all(self) -> None:
        """Tidy all."""
        for tidier in self._tidiers.values():
            self._soon(tidier)

    def close(self) -> None:
        """Stop; what is not finished is done at the next start."""
        self._over.set()
        self._thread.close(PATIENCE)

    def _was_written(self, file: CaptureFile | None) -> None:
        if file is not None:
            self._written.add(file.path)

    def _soon(self, tidier: Retention) -> None:
        if tidier not in self._waiting and not self._over.is_set():
            self._waiting.add(tidier)
            self._thread.call(partial(self._tidy, tidier))

    def _tidy(self, tidier: Retention) -> None:
        self._waiting.discard(tidier)
        if not self._over.is_set():
            with suppress(OSError, AttributeError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
            began = time.monotonic()
            tidier.apply()
            # A folder of very many files takes long to look through, and may change all the time.
            self._over.wait(min(REST * (time.monotonic() - began), LONGEST_REST))
