"""Rings: the last messages of each session in memory, written when something happens to it.

They are for users who do not want to record everything for months. A ring holds the bytes that
passed, not copies, and decodes nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import msgspec

from lbcproxy.background import Background
from lbcproxy.capture.recording.file import CaptureFile, Notify
from lbcproxy.capture.recording.filename_pattern import file_name, fixed_folder
from lbcproxy.capture.recording.loss import Loss
from lbcproxy.capture.recording.ring_writer import RingWriter
from lbcproxy.capture.recording.triggers import error_in, reason_of_end
from lbcproxy.capture.writing.recorder import Recorder
from lbcproxy.capture.writing.session_state import (
    SessionState,
    from_next_message,
    last_with_bytes,
    without_records,
)
from lbcproxy.deprecated import renamed_parameters
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

__all__ = ["MemoryBudget", "Ring", "RingSettings", "Rings"]

PER_MESSAGE, PER_READ = 64, 600
"""Approximate bytes of memory in addition to those that passed."""


class RingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much of each session is kept, and when and where it is written."""

    messages: int
    """How many messages to keep at least, unless they are too long."""
    size: int
    """The most bytes of memory for a session."""
    pattern: str
    """The path of its file: see `filename_pattern.file_name`."""
    reasons: tuple[str, ...]
    """Those of `REASONS` for which it is written."""
    legs: str = "auto"
    access: Access = OWNER
    """Who may read new files and folders."""


class MemoryBudget(Protocol):
    """What limits the memory of all sessions together."""

    def update(self, holder: Ring, /) -> None:
        """Count what a ring holds now; it may be asked to `reduce_memory`."""

    def forget(self, holder: Ring, /) -> None:
        """Stop counting a ring."""


class _RingItem(msgspec.Struct, frozen=True):
    """An event that is kept."""

    event: SessionEvent
    messages: int = 0
    size: int = PER_READ


class Ring:
    """The last messages of one session."""

    gives = "its ring is emptied"

    def __init__(self, rings: Rings, info: SessionInfo) -> None:
        self.number = info.number
        self.info = info
        self.state: SessionState | None = None
        """The state of the session where the ring begins; None at the start of the session."""
        self.items: deque[_RingItem] = deque()
        self.messages = 0
        self.held = 0
        """How many bytes of memory it holds."""
        self.lacks = Loss()
        """What it should hold but does not."""
        self._rings = rings
        self._settings = rings.settings
        self._was_reset = False
        """Whether a node reset the session."""
        self._written: set[tuple[str, Direction]] = set()
        """The reasons for which it has been written."""

    def handle(self, event: SessionEvent) -> None:
        """Keep what happened next; write the ring if that is a reason for it."""
        match event:
            case Delivered():
                self._deliver(event)
            case NotRecorded():
                # This counts only if the ring is written.
                self.lacks += Loss(event.lost.messages, event.lost.size)
            case SessionEnded():
                self._end(event)
            case ObserverDropped():
                # The end of the session is not observed: it may have been a bad one.
                self._rings.forget(self)
                if "death" in self._settings.reasons:
                    self._rings.write(self, "death")
            case _:
                self._was_reset = self._was_reset or isinstance(event, SessionReset)
                self.info = event.info
                self._keep(_RingItem(event))

    def _deliver(self, event: Delivered) -> None:
        messages, size, reason = 0, PER_READ, ""
        kept = []
        for delivery in event.deliveries:
            messages += len(delivery.entries)
            size += len(delivery.raw) + len(delivery.sent or b"")
            reason = error_in(delivery) or reason
            kept.append(without_records(delivery))
        size += messages * PER_MESSAGE
        self._keep(_RingItem(msgspec.structs.replace(event, deliveries=kept), messages, size))
        if reason in self._settings.reasons and (reason, event.direction) not in self._written:
            self._written.add((reason, event.direction))
            self._rings.write(self, reason)

    def _end(self, event: SessionEnded) -> None:
        """Write the ring if the end was a bad one."""
        self._rings.forget(self)
        self.info = event.info
        reasons = reason_of_end(event.summary, was_reset=self._was_reset)
        reason = next((each for each in reasons if each in self._settings.reasons), None)
        if reason is not None:
            self._add(_RingItem(event))
            self._rings.write(self, reason)

    def _keep(self, item: _RingItem) -> None:
        self._add(item)
        self._rings.update(self)

    def _add(self, item: _RingItem) -> None:
        """Add an item, and drop the oldest ones that are too many."""
        self.items.append(item)
        self.messages += item.messages
        self.held += item.size
        settings = self._settings
        while self.held > settings.size or (len(self.items) > 1 and self._is_full()):
            self._drop()

    def _is_full(self) -> bool:
        """Return whether there are enough messages without the oldest item."""
        first, enough = self.items[0], self._settings.messages
        if self.messages - first.messages < enough:
            return False
        inside = set() if self.state is None else set(self.state.inside)
        if isinstance(first.event, Delivered) and (last := last_with_bytes(first.event.deliveries)):
            inside.discard(first.event.direction)
            if not last.entries:
                inside.add(first.event.direction)
        # A message of which only the end would be left does not count.
        return self.messages - first.messages - len(inside) >= enough

    def reduce_memory(self) -> None:
        """Drop everything, since there is no memory for it."""
        while self.items:
            self._drop()

    def _drop(self) -> None:
        item = self.items.popleft()
        self.messages -= item.messages
        self.held -= item.size
        if self.state is None:
            self.state = SessionState(self.info)
        self.state.follow(item.event)

    def record(
        self, recorder: Recorder, state: SessionState | None, items: Sequence[_RingItem]
    ) -> int:
        """Record items; return how many messages they have."""
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
    """An observer that keeps a ring for each session of a proxy.

    Args:
        settings: How much is kept, and when and where it is written.
        disk: Writes the rings, in its own thread.
        notify: Called with what was written where.
        budget: Limits the memory of all sessions together.
        network: The network's id.
        name: The proxy's name.
        changes: Whether the bytes sent may differ from those received.
        now: Returns nanoseconds since 1970.
        on_closed: Called with each complete file, in the writing thread.
        clock: Returns seconds.
    """

    @renamed_parameters(told="notify", bound="budget", closed="on_closed")
    def __init__(
        self,
        settings: RingSettings,
        disk: Background,
        notify: Notify,
        budget: MemoryBudget,
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
        self._budget = budget
        self.network = network
        self.name = name
        self.changes = changes
        """Whether the bytes sent may differ from those received."""
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
        """Whether a ring could not be written yet, and will be tried again."""
        return self._writer.is_waiting

    @property
    def is_idle(self) -> bool:
        """Whether there are no sessions."""
        return not self._rings

    @property
    def rings(self) -> Sequence[Ring]:
        """The rings of the open sessions."""
        return tuple(self._rings.values())

    def write_all(self, reason: str, which: Callable[[SessionInfo], bool] = lambda _: True) -> int:
        """Write the rings of some sessions, whatever the settings say; return how many."""
        matching = [each for each in self._rings.values() if each.items and which(each.info)]
        for ring in matching:
            self.write(ring, reason)
        return len(matching)

    # Sessions.

    def session_started(self, info: SessionInfo) -> Ring:
        """Return the ring of a session."""
        ring = self._rings[info.number] = Ring(self, info)
        return ring

    def update(self, ring: Ring) -> None:
        """Count the memory of a ring."""
        self._budget.update(ring)

    def forget(self, ring: Ring) -> None:
        """Forget the ring of a session that is over."""
        self._rings.pop(ring.number, None)
        self._budget.forget(ring)

    # Files.

    def write(self, ring: Ring, reason: str) -> None:
        """Queue a ring to be written as it is now."""
        self._disk.call(partial(self._writer.write, _RingDump(self, ring, reason, self._now())))

    def retry(self) -> None:
        """Try again to write what the disk has not accepted so far, if it is time."""
        if self._writer.is_waiting:
            self._disk.call(self._writer.retry)

    def close(self) -> None:
        """Try a last time to write what is waiting; the rest is lost."""
        self._disk.call(self._writer.finish)


class _RingDump:
    """A ring as it was at one moment: a `ring_writer.Dump`."""

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
        """How many items it has."""
        return len(self._items)

    def blocks(self, skipped: int) -> tuple[list[bytes], int]:
        """Return the blocks of a file without the first items, and its number of messages."""
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
            state = state or SessionState(self._ring.info)
            state.follow(item.event)
        return parts, self._ring.record(recorder, state, self._items[skipped:])
