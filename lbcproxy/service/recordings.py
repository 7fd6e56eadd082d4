"""The recordings of a service: which proxies share one, when it is opened and closed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import cast

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from lbcproxy.background import Background
from lbcproxy.capture import (
    CaptureFile,
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
from lbcproxy.reactor import Reactor
from lbcproxy.service.maintenance import Maintenance
from lbcproxy.session import Observer

__all__ = ["Recorders", "Recordings"]

LOG = Logger(namespace="lbcproxy.service", observer=LOG_FILTER)
DISK_TIMEOUT = 5.0
"""Seconds that the program waits for the disk when it exits."""
HOUR = 3600.0


class Recorders(msgspec.Struct, frozen=True, eq=False):
    """What records a proxy's sessions: its recording, its rings, neither or both."""

    name: str
    choice: Choice
    switch: Switch | None
    rings: Rings | None

    @property
    def observers(self) -> tuple[Observer, ...]:
        """What has to be notified of the sessions."""
        return tuple(each for each in (self.switch, self.rings) if each is not None)

    @property
    def is_idle(self) -> bool:
        """Whether there are no sessions."""
        return all(each is None or each.is_idle for each in (self.switch, self.rings))


class Recordings:
    """All recordings and rings, and the thread that writes them.

    Args:
        reactor: For work that is repeated.
        shared: What all proxies share.
        max_queue: Bytes that may wait for the disk.
        notify: Called, in any thread, with what happens to a recording, whether that is an error,
            and whether the service has to stop because of it.
        now: Returns the time in nanoseconds since 1970.
    """

    def __init__(
        self,
        reactor: Reactor,
        shared: Shared,
        max_queue: int,
        notify: Callable[[str, bool, bool], object],
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self.disk = Background(max_queue)
        self._shared = shared
        self._notify = notify
        self._now = now
        self._wanted: dict[tuple[object, ...], Recording] = {}
        self._used: list[Recording] = []  # also those that only finish their sessions
        self._choices: dict[str, tuple[bool, Choice]] = {}
        self._recorders: list[Recorders] = []
        self._started = False
        self._lost_before = Loss()
        self._files_before = 0
        self._maintenance = Maintenance(lambda text, bad: notify(text, bad, False), now)
        self._hourly = LoopingCall(self._maintenance.run_all)
        self._hourly.clock = cast("IReactorTime", reactor)
        self._retrying = LoopingCall(self._retry)
        self._retrying.clock = cast("IReactorTime", reactor)

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

    def summary(self) -> str:
        """Return where the recordings are, as the end of a sentence."""
        names = [each.last.name for each in self._used if each.last is not None]
        files = self._files_before + sum(each.files for each in self._used)
        if not names:
            return ""
        return f"; recorded in {names[-1]}" + (f" and {files - 1} more" if files > 1 else "")

    def of(self, config: Config, proxy: Proxy) -> Recorders:
        """Return what records the sessions of a proxy.

        After `begin`, a new recording is opened at once.

        Raises:
            CaptureError: It cannot be opened.
        """
        choice = self._choice(proxy)
        recording = self._recording(config, proxy, choice)
        before = next((each for each in reversed(self._recorders) if each.name == proxy.name), None)
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
                rings = self._new_rings(proxy, settings, changes)
        recorders = Recorders(proxy.name, choice, switch, rings)
        self._recorders.append(recorders)
        return recorders

    def recorders_of(self, name: str) -> list[Recorders]:
        """Return what records the sessions of a proxy, including those with earlier settings."""
        return [each for each in self._recorders if each.name == name]

    def choice(self, name: str) -> Choice | None:
        """Return what is to be recorded of a proxy; None for one that was never started."""
        found = self._choices.get(name)
        return None if found is None else found[1]

    def begin(self) -> None:
        """Open all recordings that are on; raises CaptureError."""
        for recording in self._used:
            if self._is_on(recording):
                self._open(recording)
        self._started = True
        self._hourly.start(HOUR)
        self._retrying.start(RETRY_INTERVAL, now=False)

    def reopen(self) -> None:
        """Reopen files that have been moved away."""
        for recording in self._used:
            recording.reopen()

    def keep(self, wanted: Collection[Recorders]) -> None:
        """Close all recordings but these, as soon as their last session has ended."""
        used = [each.switch.recording for each in wanted if each.switch is not None]
        for key, recording in list(self._wanted.items()):
            if recording not in used:
                del self._wanted[key]
                recording.retire()
        for recording in [each for each in self._used if each.is_closed]:
            self._used.remove(recording)
            self._lost_before += recording.lost
            self._files_before += recording.files
        for recorders in [each for each in self._recorders if each not in wanted and each.is_idle]:
            if recorders.rings is not None and recorders.rings.is_waiting:
                continue
            self._recorders.remove(recorders)
            if recorders.rings is not None and all(
                each.rings is not recorders.rings for each in self._recorders
            ):
                self._lost_before += recorders.rings.lost

    def dump_rings(self) -> None:
        """Write the rings of all sessions and wait for the disk, before the program is killed."""
        for rings in self._all_rings():
            if "death" in rings.settings.reasons:
                rings.write_all("death")
            rings.close()
        self.disk.drain(DISK_TIMEOUT)

    def close(self) -> bool:
        """Finish all files; return False if the disk did not accept everything in time."""
        for looping in (self._hourly, self._retrying):
            if looping.running:
                looping.stop()
        for recording in self._used:
            recording.close()
        for rings in self._all_rings():
            rings.close()
        complete = self.disk.close(DISK_TIMEOUT)
        self._maintenance.close()
        return complete

    def _all_rings(self) -> list[Rings]:
        return [*{id(each.rings): each.rings for each in self._recorders if each.rings}.values()]

    def _retry(self) -> None:
        for rings in self._all_rings():
            rings.retry()

    # By proxy.

    def _choice(self, proxy: Proxy) -> Choice:
        """Return what is to be recorded: what was chosen by hand, until the setting changes."""
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
            recording = self._new_recording(proxy, changes)
            if self._started and choice.on:
                self._open(recording)
            self._wanted[key] = recording
            self._used.append(recording)
        return recording

    def _is_on(self, recording: Recording) -> bool:
        return any(
            each.choice.on
            for each in self._recorders
            if each.switch is not None and each.switch.recording is recording
        )

    def _new_recording(self, proxy: Proxy, changes: bool) -> Recording:
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
            lambda text, bad: self._notify(text, bad, stop),
            network=str(proxy.network),
            name=proxy.name,
            changes=changes,
            selection=None if proxy.record_filter is None else parse(proxy.record_filter),
            now=self._now,
            on_closed=self._apply_retention(proxy, settings.pattern),
        )

    def _new_rings(self, proxy: Proxy, settings: RingSettings, changes: bool) -> Rings:
        return Rings(
            settings,
            self.disk,
            lambda text, bad: self._notify(text, bad, False),
            self._shared.budget,
            network=str(proxy.network),
            name=proxy.name,
            changes=changes,
            now=self._now,
            on_closed=self._apply_retention(proxy, settings.pattern),
        )

    def _apply_retention(
        self, proxy: Proxy, pattern: str
    ) -> Callable[[CaptureFile | None], object]:
        policy = RetentionPolicy(
            size=proxy.record_keep_size,
            age=proxy.record_keep_age,
            compress=proxy.record_compress,
        )
        return self._maintenance.apply(pattern, policy, network=str(proxy.network), name=proxy.name)

    def _open(self, recording: Recording) -> None:
        """Open a recording, in a new file if the file of its name may belong to another one."""
        recording.open(fresh=self._started)
        file = recording.last
        if file is None:
            return
        if file.tail_size:
            LOG.warn(
                "cut {cut:,} bytes of an incomplete block off {path}",
                cut=file.tail_size,
                path=file.path,
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
