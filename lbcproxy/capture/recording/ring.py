"""A ring: the last messages of a session, in memory, written out when something happens to it.

For who does not want to record everything for months. What is kept are the bytes that passed,
not copies, and nothing is decoded for it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec

from lbcproxy.background import Background
from lbcproxy.capture.recording.file import CaptureFile, Notify
from lbcproxy.capture.recording.filename_pattern import file_name, fixed_folder
from lbcproxy.capture.recording.loss import Loss
from lbcproxy.capture.recording.ring_writer import RingWriter
from lbcproxy.capture.recording.triggers import error_in, reason_of_end
from lbcproxy.capture.writing.recorder import Recorder
from lbcproxy.capture.writing.session_state import Known, from_next_message, without_records
from lbcproxy.private import OWNER, Access
from lbcproxy.session import Direction, SessionInfo
from lbcproxy.session.events import (
    Delivered,
    NotRecorded,
    ObserverDropped,
    SessionEnded,
    SessionEvent,
    SessionReset,
)

__all__ = ["Bound", "Ring", "RingSettings", "Rings"]

PER_MESSAGE, PER_READ = 64, 600
"""Bytes of memory beside those that passed, about."""


class RingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of each session, and when it is written where."""

    messages: int
    """How many at least, unless they are too long."""
    size: int
    """Bytes of memory at most."""
    pattern: str
    """The path, as a recording's."""
    reasons: tuple[str, ...]
    """Those of `REASONS` for which it is written."""
    legs: str = "auto"
    access: Access = OWNER
    """Who may read new files and folders."""


class Bound(Protocol):
    """What bounds the memory of all sessions together."""

    def update(self, holder: Any) -> None:
        """Take note of what somebody holds now."""

    def forget(self, holder: Any) -> None:
        """Count somebody no longer."""


class _Kept(msgspec.Struct, frozen=True):
    """An event that is kept."""

    event: SessionEvent
    messages: int = 0
    size: int = PER_READ


class Ring:
    """What is kept of one session."""

    gives = "its ring is emptied"

    def __init__(self, rings: Rings, info: SessionInfo) -> None:
        self.number = info.number
        self.info = info
        self.state: Known | None = None
        """How far the session was where the ring begins; None at its beginning."""
        self.items: deque[_Kept] = deque()
        self.messages = 0
        self.held = 0
        """Bytes of memory."""
        self.lacks = Loss()
        """What should have been kept and is not."""
        self._rings = rings
        self._settings = rings.settings
        self._broken = False
        """Whether a node reset the session."""
        self._written: set[tuple[str, Direction]] = set()
        """For what it has been written already."""

    def handle(self, event: SessionEvent) -> None:
        """Keep what happened next; write the ring if that is a reason for it."""
        match event:
            case Delivered():
                self._deliver(event)
            case NotRecorded():
                # It counts if the ring is ever written.
                self.lacks += Loss(event.lost.messages, event.lost.size)
            case SessionEnded():
                self._end(event)
            case ObserverDropped():
                # The end of the session, which was not observed, may have been a bad one.
                self._rings.forget(self)
                if "death" in self._settings.reasons:
                    self._rings.write(self, "death")
            case _:
                self._broken = self._broken or isinstance(event, SessionReset)
                self.info = event.info
                self._keep(_Kept(event))

    def _deliver(self, event: Delivered) -> None:
        messages, size, reason = 0, PER_READ, ""
        kept = []
        for delivery in event.deliveries:
            messages += len(delivery.entries)
            size += len(delivery.raw) + len(delivery.sent or b"")
            reason = error_in(delivery) or reason
            kept.append(without_records(delivery))
        size += messages * PER_MESSAGE
        self._keep(_Kept(msgspec.structs.replace(event, deliveries=kept), messages, size))
        if reason in self._settings.reasons and (reason, event.direction) not in self._written:
            self._written.add((reason, event.direction))
            self._rings.write(self, reason)

    def _end(self, event: SessionEnded) -> None:
        """Write the ring if the end was a bad one."""
        self._rings.forget(self)
        self.info = event.info
        reasons = reason_of_end(event.summary, was_reset=self._broken)
        reason = next((each for each in reasons if each in self._settings.reasons), None)
        if reason is not None:
            self._add(_Kept(event))
            self._rings.write(self, reason)

    def _keep(self, item: _Kept) -> None:
        self._add(item)
        self._rings.update(self)

    def _add(self, item: _Kept) -> None:
        """Keep one more, and drop the oldest that are too many."""
        self.items.append(item)
        self.messages += item.messages
        self.held += item.size
        settings = self._settings
        while self.held > settings.size or (len(self.items) > 1 and self._is_full()):
            self._drop()

    def _is_full(self) -> bool:
        """Whether there are enough without the oldest."""
        first, enough = self.items[0], self._settings.messages
        if self.messages - first.messages < enough:
            return False
        inside = set() if self.state is None else set(self.state.inside)
        if isinstance(first.event, Delivered) and first.event.deliveries:
            inside.discard(first.event.direction)
            if not first.event.deliveries[-1].entries:
                inside.add(first.event.direction)
        # Messages of which only the end would be left do not count.
        return self.messages - first.messages - len(inside) >= enough

    def shed(self) -> None:
        """Drop everything: there is no memory for it."""
        while self.items:
            self._drop()

    def _drop(self) -> None:
        item = self.items.popleft()
        self.messages -= item.messages
        self.held -= item.size
        if self.state is None:
            self.state = Known(self.info)
        self.state.follow(item.event)

    def record(self, recorder: Recorder, state: Known | None, items: Sequence[_Kept]) -> int:
        """Write what was kept; return how many messages that is."""
        count = 0
        waiting: set[Direction] = set()
        if state is not None and items:
            waiting, state.inside = state.inside, set()
            session = recorder.join(state, items[0].event.time_ns)
        else:
            session = recorder.session_started(self.info)
        for item in items:
            event = item.event
            if isinstance(event, Delivered):
                if event.direction in waiting:
                    deliveries = from_next_message(event.deliveries)
                    if deliveries is None:
                        continue
                    waiting.discard(event.direction)
                    event = msgspec.structs.replace(event, deliveries=deliveries)
                count += sum(len(each.entries) for each in event.deliveries)
            session.handle(event)
        return count


class Rings:
    """The rings of a proxy's sessions; `disk` writes them, `notify` hears where.

    `bound` counts what they hold; `now` gives nanoseconds since 1970; `closed` is notify of each
    file that is whole, in the writing thread; `clock` gives seconds.
    """

    def __init__(
        self,
        settings: RingSettings,
        disk: Background,
        notify: Notify,
        bound: Bound,
        *,
        network: str,
        name: str,
        changes: bool,
        now: Callable[[], int],
        on_closed: Callable[[CaptureFile], object] = bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._disk = disk
        self._bound = bound
        self.network = network
        self.name = name
        self.changes = changes
        """Whether what goes out may differ from what came in."""
        self._now = now
        self._writer = RingWriter(
            disk, notify, on_closed, clock, settings.access, fixed_folder(settings.pattern)
        )
        self._rings: dict[int, Ring] = {}

    @property
    def lost(self) -> Loss:
        """What could not be written."""
        return self._writer.lost

    @property
    def is_waiting(self) -> bool:
        """Whether some have not been written yet and are tried again."""
        return self._writer.is_waiting

    @property
    def is_idle(self) -> bool:
        """Whether there is no session."""
        return not self._rings

    @property
    def rings(self) -> Sequence[Ring]:
        """Those there are now."""
        return tuple(self._rings.values())

    def write_all(self, reason: str, which: Callable[[SessionInfo], bool] = lambda _: True) -> int:
        """Write those that are meant, whatever the settings say; how many they are."""
        meant = [each for each in self._rings.values() if each.items and which(each.info)]
        for ring in meant:
            self.write(ring, reason)
        return len(meant)

    # Sessions.

    def session_started(self, info: SessionInfo) -> Ring:
        """Return the ring of a session."""
        ring = self._rings[info.number] = Ring(self, info)
        return ring

    def update(self, ring: Ring) -> None:
        """Count the memory of a ring."""
        self._bound.update(ring)

    def forget(self, ring: Ring) -> None:
        """Forget the ring of a session that is over."""
        self._rings.pop(ring.number, None)
        self._bound.forget(ring)

    # Files.

    def write(self, ring: Ring, reason: str) -> None:
        """Have it written as it is now, in the writing thread."""
        self._disk.call(partial(self._writer.write, _Dump(self, ring, reason, self._now())))

    def retry(self) -> None:
        """Have written what no disk has taken so far, if it is time."""
        if self._writer.is_waiting:
            self._disk.call(self._writer.retry)

    def close(self) -> None:
        """Try a last time; what cannot be written is lost."""
        self._disk.call(self._writer.finish)


class _Dump:
    """A ring as it is at this moment; a `ring_writer.Dump`."""

    def __init__(self, rings: Rings, ring: Ring, reason: str, time_ns: int) -> None:
        self.title = f"session {ring.number}: {reason}"
        self.path = file_name(
            rings.settings.pattern,
            network=rings.network,
            name=rings.name,
            session=ring.number,
            time_ns=time_ns,
        )
        self.buffered_bytes = ring.held
        self.lacks, ring.lacks = ring.lacks, Loss()
        self._rings = rings
        self._ring = ring
        self._reason = reason
        self._state = None if ring.state is None else ring.state.copy()
        self._items = tuple(ring.items)

    @property
    def count(self) -> int:
        """How many steps it has."""
        return len(self._items)

    def blocks(self, skipped: int) -> tuple[list[bytes], int]:
        """Return the blocks of a file without the first steps, and how many messages it has."""
        parts: list[bytes] = []
        recorder = Recorder(
            parts.append,
            network=self._rings.network,
            legs=self._rings.settings.legs,
            changes=self._rings.changes,
            metadata={"name": self._rings.name, "ring": self._reason},
        )
        state = None if self._state is None else self._state.copy()
        for item in self._items[:skipped]:
            state = state or Known(self._ring.info)
            state.follow(item.event)
        return parts, self._ring.record(recorder, state, self._items[skipped:])
