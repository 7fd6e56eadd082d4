"""The recordings of a service: which proxies share one, when it begins, when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

import msgspec
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from lbcproxy.background import Background
from lbcproxy.capture import (
    Choice,
    Loss,
    Recording,
    RecordingSettings,
    RetentionPolicy,
    Rings,
    RingSettings,
    Switch,
)
from lbcproxy.capture.recording.file import RETRY_INTERVAL
from lbcproxy.config import Config, Proxy, recording_key, records_changes
from lbcproxy.filters import parse
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.private import ACCESS
from lbcproxy.proxy import Shared
from lbcproxy.service.maintenance import Maintenance
from lbcproxy.session import Observer

__all__ = ["Recorders", "Recordings"]

LOG = Logger(namespace="lbcproxy.service", observer=LOG_FILTER)
PATIENCE = 5.0
"""Seconds that the end waits for the disk."""
HOUR = 3600.0


class Recorders(msgspec.Struct, frozen=True, eq=False):
    """What keeps a proxy's sessions: its recording, its rings, neither or both."""

    name: str
    choice: Choice
    switch: Switch | None
    rings: Rings | None

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Who is to be told of the sessions."""
        return tuple(each for each in (self.switch, self.rings) if each is not None)

    @property
    def is_idle(self) -> bool:
        """Whether there are no sessions."""
        return all(each is None or each.is_idle for each in (self.switch, self.rings))


class Recordings:
    """All recordings and rings, and the thread that writes them.

    `told` hears, in whatever thread, what happens to one, whether that is bad, and whether all is
    to end for it.
    """

    def __init__(
        self,
        reactor: Any,
        shared: Shared,
        most_waiting: int,
        told: Callable[[str, bool, bool], object],
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self.disk = Background(most_waiting)
        self._shared = shared
        self._told = told
        self._now = now
        self._wanted: dict[tuple[object, ...], Recording] = {}
        self._used: list[Recording] = []  # those no longer wanted may have sessions yet
        self._choices: dict[str, tuple[bool, Choice]] = {}
        self._kept: list[Recorders] = []
        self._begun = False
        self._lost_before = Loss()
        self._files_before = 0
        self._housework = Maintenance(lambda text, bad: told(text, bad, False), now)
        self._hourly = LoopingCall(self._housework.all)
        self._hourly.clock = reactor
        self._retrying = LoopingCall(self._retry)
        self._retrying.clock = reactor

    @property
    def lost(self) -> Loss:
        """What could not be recorded."""
        total = Loss()
        total += self._lost_before
        for lost in (
            *(each.lost for each in self._used),
            *(each.lost for each in self._all_rings()),
        ):
            total += lost
        return total

    def farewell(self) -> str:
        """Say where all of it is."""
        names = [each.last.name for each in self._used if each.last is not None]
        files = self._files_before + sum(each.files for each in self._used)
        if not names:
            return ""
        return f"; recorded in {names[-1]}" + (f" and {files - 1} more" if files > 1 else "")

    def of(self, config: Config, proxy: Proxy) -> Recorders:
        """Give what a proxy's sessions are told to, if they are to be kept.

        Once they have begun a new recording is opened at once; raises CaptureError.
        """
        choice = self._choice(proxy)
        recording = self._recording(config, proxy, choice)
        before = next((each for each in reversed(self._kept) if each.name == proxy.name), None)
        switch = rings = None
        if recording is not None:
            switch = None if before is None else before.switch
            if switch is None or (switch.recording, switch.choice) != (recording, choice):
                switch = Switch(recording, choice, self._now)
        if proxy.ring:
            settings = _ring_settings(proxy)
            rings = None if before is None else before.rings
            changes = records_changes(config, proxy)
            if rings is None or (rings.settings, rings.changes) != (settings, changes):
                rings = self._rings(proxy, settings, changes)
        kept = Recorders(proxy.name, choice, switch, rings)
        self._kept.append(kept)
        return kept

    def kept(self, name: str) -> list[Recorders]:
        """Give what keeps the sessions of a proxy, those of earlier settings too."""
        return [each for each in self._kept if each.name == name]

    def choice(self, name: str) -> Choice | None:
        """Give what was chosen for a proxy."""
        found = self._choices.get(name)
        return None if found is None else found[1]

    def begin(self) -> None:
        """Open all; raises CaptureError."""
        for recording in self._used:
            if self._is_on(recording):
                self._open(recording)
        self._begun = True
        self._hourly.start(HOUR)
        self._retrying.start(RETRY_INTERVAL, now=False)

    def reopen(self) -> None:
        """Open anew what was moved away."""
        for recording in self._used:
            recording.reopen()

    def keep(self, wanted: Collection[Recorders]) -> None:
        """Close all others, behind their last sessions."""
        used = [each.switch.recording for each in wanted if each.switch is not None]
        for key, recording in list(self._wanted.items()):
            if recording not in used:
                del self._wanted[key]
                recording.retire()
        for recording in [each for each in self._used if each.is_closed]:
            self._used.remove(recording)
            self._lost_before += recording.lost
            self._files_before += recording.files
        for kept in [each for each in self._kept if each not in wanted and each.is_idle]:
            if kept.rings is not None and kept.rings.is_waiting:
                continue
            self._kept.remove(kept)
            if kept.rings is not None and all(each.rings is not kept.rings for each in self._kept):
                self._lost_before += kept.rings.lost

    def dump_rings(self) -> None:
        """Write the rings of all sessions, and wait for it: the program ends at once."""
        for rings in self._all_rings():
            if "death" in rings.settings.reasons:
                rings.write_all("death")
            rings.close()
        self.disk.drain(PATIENCE)

    def close(self) -> bool:
        """Finish all files; False if the disk does not take the rest in time."""
        for looping in (self._hourly, self._retrying):
            if looping.running:
                looping.stop()
        for recording in self._used:
            recording.close()
        for rings in self._all_rings():
            rings.close()
        whole = self.disk.close(PATIENCE)
        self._housework.close()
        return whole

    def _all_rings(self) -> list[Rings]:
        return [*{id(each.rings): each.rings for each in self._kept if each.rings}.values()]

    def _retry(self) -> None:
        for rings in self._all_rings():
            rings.retry()

    # By proxy.

    def _choice(self, proxy: Proxy) -> Choice:
        """Give what holds for a proxy: what was chosen by hand, until its setting changes."""
        found = self._choices.get(proxy.name)
        if found is None or found[0] != proxy.record_on_demand:
            found = (proxy.record_on_demand, Choice(not proxy.record_on_demand))
            self._choices[proxy.name] = found
        return found[1]

    def _recording(self, config: Config, proxy: Proxy, choice: Choice) -> Recording | None:
        if proxy.record is None:
            return None
        changes = records_changes(config, proxy)
        key = (*recording_key(proxy), changes)
        recording = self._wanted.get(key)
        if recording is None:
            recording = self._made(proxy, changes)
            if self._begun and choice.on:
                self._open(recording)
            self._wanted[key] = recording
            self._used.append(recording)
        return recording

    def _is_on(self, recording: Recording) -> bool:
        return any(
            each.choice.on
            for each in self._kept
            if each.switch is not None and each.switch.recording is recording
        )

    def _made(self, proxy: Proxy, changes: bool) -> Recording:
        settings = RecordingSettings(
            pattern=str(proxy.record),
            per=proxy.record_per,
            legs=proxy.record_legs,
            rotate_size=proxy.rotate_size,
            rotate_every=proxy.rotate_every,
            access=ACCESS[proxy.record_access],
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
            now=self._now,
            on_closed=self._tidied(proxy, settings.pattern),
        )

    def _rings(self, proxy: Proxy, settings: RingSettings, changes: bool) -> Rings:
        return Rings(
            settings,
            self.disk,
            lambda text, bad: self._told(text, bad, False),
            self._shared.budget,
            network=str(proxy.network),
            name=proxy.name,
            changes=changes,
            now=self._now,
            on_closed=self._tidied(proxy, settings.pattern),
        )

    def _tidied(self, proxy: Proxy, pattern: str) -> Callable[[Any], object]:
        keeping = RetentionPolicy(
            size=proxy.record_keep_size,
            age=proxy.record_keep_age,
            compress=proxy.record_compress,
        )
        return self._housework.keep(pattern, keeping, network=str(proxy.network), name=proxy.name)

    def _open(self, recording: Recording) -> None:
        """Begin it, in a new file if the one of its name may be another recording's."""
        recording.open(fresh=self._begun)
        file = recording.last
        if file is None:
            return
        if file.tail_size:
            LOG.warn(
                "cut {cut:,} bytes of a torn block off {path}", cut=file.tail_size, path=file.path
            )
        doing = "continuing" if file.continued else "recording to"
        LOG.info("{doing} {file}", doing=doing, file=file.name)


def _ring_settings(proxy: Proxy) -> RingSettings:
    return RingSettings(
        messages=proxy.ring,
        size=proxy.ring_size,
        pattern=proxy.ring_file,
        reasons=proxy.ring_on,
        legs=proxy.record_legs,
        access=ACCESS[proxy.record_access],
    )
