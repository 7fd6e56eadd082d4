"""The recordings of a service: which proxies share one, when it begins, when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from twisted.logger import Logger

from lbcproxy.background import Background
from lbcproxy.capture import Loss, Recording, RecordingSettings
from lbcproxy.config import Config, Proxy, recording_key, records_changes
from lbcproxy.filters import parse
from lbcproxy.peer.log import GATE

__all__ = ["Recordings"]

LOG = Logger(namespace="lbcproxy.service", observer=GATE)
PATIENCE = 5.0
"""Seconds that the end waits for the disk."""


class Recordings:
    """All recordings, and the thread that writes them.

    `told` hears, in whatever thread, what happens to one, whether that is bad, and whether all is
    to end for it.
    """

    def __init__(self, most_waiting: int, told: Callable[[str, bool, bool], object]) -> None:
        self.disk = Background(most_waiting)
        self._told = told
        self._wanted: dict[tuple[object, ...], Recording] = {}
        self._used: list[Recording] = []  # those no longer wanted may have sessions yet
        self._begun = False
        self._lost_before = Loss()
        self._files_before = 0

    @property
    def lost(self) -> Loss:
        """What could not be recorded."""
        total = Loss()
        total += self._lost_before
        for recording in self._used:
            total += recording.lost
        return total

    def farewell(self) -> str:
        """Say where all of it is."""
        names = [each.last.name for each in self._used if each.last is not None]
        files = self._files_before + sum(each.files for each in self._used)
        if not names:
            return ""
        return f"; recorded in {names[-1]}" + (f" and {files - 1} more" if files > 1 else "")

    def of(self, config: Config, proxy: Proxy) -> Recording | None:
        """Give the recording a proxy's sessions go to, if they are recorded.

        Once they have begun a new one is opened at once; raises CaptureError.
        """
        if proxy.record is None:
            return None
        changes = records_changes(config, proxy)
        key = (*recording_key(proxy), changes)
        recording = self._wanted.get(key)
        if recording is None:
            recording = self._made(proxy, changes)
            if self._begun:
                self._open(recording)
            self._wanted[key] = recording
            self._used.append(recording)
        return recording

    def begin(self) -> None:
        """Open all; raises CaptureError."""
        for recording in self._used:
            self._open(recording)
        self._begun = True

    def reopen(self) -> None:
        """Open anew what was moved away."""
        for recording in self._used:
            recording.reopen()

    def keep(self, wanted: Collection[Recording | None]) -> None:
        """Close all others, behind their last sessions."""
        for key, recording in list(self._wanted.items()):
            if recording not in wanted:
                del self._wanted[key]
                recording.retire()
        for recording in [each for each in self._used if each.is_closed]:
            self._used.remove(recording)
            self._lost_before += recording.lost
            self._files_before += recording.files

    def close(self) -> bool:
        """Finish all files; False if the disk does not take the rest in time."""
        for recording in self._used:
            recording.close()
        return self.disk.close(PATIENCE)

    def _made(self, proxy: Proxy, changes: bool) -> Recording:
        settings = RecordingSettings(
            pattern=str(proxy.record),
            per=proxy.record_per,
            legs=proxy.record_legs,
            rotate_size=proxy.rotate_size,
            rotate_every=proxy.rotate_every,
        )
        stop = proxy.record_failure == "stop"
        return Recording(
            settings,
            self.disk,
            lambda text, bad: self._told(text, bad, stop),
            network=str(proxy.network),
            name=proxy.name,
            changes=changes,
            wanted=None if proxy.record_filter is None else parse(proxy.record_filter),
            now=time.time_ns,
        )

    def _open(self, recording: Recording) -> None:
        """Begin it, in a new file if the one of its name may be another recording's."""
        recording.open(fresh=self._begun)
        file = recording.last
        if file is None:
            return
        if file.cut:
            LOG.warn("cut {cut:,} bytes of a torn block off {path}", cut=file.cut, path=file.path)
        doing = "continuing" if file.continued else "recording to"
        LOG.info("{doing} {file}", doing=doing, file=file.name)
