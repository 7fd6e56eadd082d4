"""A ring: the last messages of a session, in memory, written out when something happens to it.

For who does not want to record everything for months. What is kept are the bytes that passed,
not copies, and nothing is decoded for it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias

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
from lbcproxy.session import (
    Delivery,
    Direction,
    End,
    Lost,
    Observer,
    SessionInfo,
    SessionSummary,
)

__all__ = ["Bound", "Ring", "RingSettings", "Rings"]

PER_MESSAGE, PER_READ = 64, 600
"""Bytes of memory beside those that passed, about."""

Event: TypeAlias = Callable[[Observer], object]
"""Something that an observer is told."""


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


class _Item(msgspec.Struct, frozen=True):
    """What happened at one moment."""

    time_ns: int
    event: Event | None
    """Of what is not bytes."""
    direction: Direction = Direction.TO_UPSTREAM
    deliveries: Sequence[Delivery] = ()
    messages: int = 0
    size: int = PER_READ

    def follow(self, known: Known) -> None:
        """Have what is known of the session be as it was after this."""
        if self.event is None:
            known.passed(self.direction, self.deliveries)
        else:
            self.event(_Follower(known))


class Ring:
    """What is kept of one session."""

    gives = "its ring is emptied"

    def __init__(self, facts: SessionInfo, settings: RingSettings) -> None:
        self.number = facts.number
        self.facts = facts
        self.known: Known | None = None
        """How far the session was where the ring begins; None at its beginning."""
        self.items: deque[_Item] = deque()
        self.messages = 0
        self.held = 0
        """Bytes of memory."""
        self.broken = False
        """Whether a node broke the session off."""
        self.said: set[tuple[str, Direction]] = set()
        """For what it has been written already."""
        self.lacks = Loss()
        """What should have been kept and is not."""
        self._settings = settings

    def add(self, item: _Item) -> None:
        """Keep one more, and let go of the oldest that are too many."""
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
        inside = set() if self.known is None else set(self.known.inside)
        if first.deliveries:
            inside.discard(first.direction)
            inside.update([first.direction] if not first.deliveries[-1].entries else [])
        # Messages of which only the end would be left do not count.
        return self.messages - first.messages - len(inside) >= enough

    def shed(self) -> None:
        """Let go of all: there is no memory for it."""
        while self.items:
            self._drop()

    def _drop(self) -> None:
        item = self.items.popleft()
        self.messages -= item.messages
        self.held -= item.size
        if self.known is None:
            self.known = Known(self.facts)
        item.follow(self.known)

    def tell(self, recorder: Recorder, known: Known | None, items: Sequence[_Item]) -> int:
        """Have recorded what was kept; how many messages that is."""
        count = 0
        waiting: set[Direction] = set()
        if known is not None and items:
            waiting, known.inside = known.inside, set()
            recorder.join(known, items[0].time_ns)
        for item in items:
            if item.event is not None:
                item.event(recorder)
                continue
            deliveries: Sequence[Delivery] | None = item.deliveries
            if item.direction in waiting:
                deliveries = from_next_message(item.deliveries)
                if deliveries is None:
                    continue
                waiting.discard(item.direction)
            count += sum(len(each.entries) for each in deliveries or ())
            recorder.passed(self.facts, item.direction, deliveries or (), item.time_ns)
        return count


class _Follower(Observer):
    """Has what is known follow what is told."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def upstream_connected(self, facts: SessionInfo, time_ns: int) -> None:
        self._known.upstream_connected(facts)

    def ending(self, facts: SessionInfo, end: End, time_ns: int) -> None:
        self._known.end = end

    def finished(self, facts: SessionInfo, direction: Direction, time_ns: int) -> None:
        self._known.finished(direction)


class Rings(Observer):
    """The rings of a proxy's sessions; `disk` writes them, `told` hears where.

    `bound` counts what they hold; `now` gives nanoseconds since 1970; `closed` is told of each
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
        meant = [each for each in self._rings.values() if each.items and which(each.facts)]
        for ring in meant:
            self._write(ring, reason)
        return len(meant)

    # What is told of sessions.

    def started(self, facts: SessionInfo, time_ns: int) -> None:
        """Begin one."""
        self._rings[facts.number] = Ring(facts, self.settings)
        self._keep(facts, lambda each: each.started(facts, time_ns), time_ns)

    def upstream_connected(self, facts: SessionInfo, time_ns: int) -> None:
        """Keep it."""
        self._keep(facts, lambda each: each.upstream_connected(facts, time_ns), time_ns)

    def passed(
        self, facts: SessionInfo, direction: Direction, deliveries: Sequence[Delivery], time_ns: int
    ) -> None:
        """Keep it; write the ring if something is wrong with it."""
        ring = self._rings.get(facts.number)
        if ring is None:
            return
        messages, size, reason = 0, PER_READ, ""
        kept = []
        for delivery in deliveries:
            messages += len(delivery.entries)
            size += len(delivery.raw) + len(delivery.sent or b"")
            reason = error_in(delivery) or reason
            kept.append(without_records(delivery))
        size += messages * PER_MESSAGE
        self._add(ring, _Item(time_ns, None, direction, kept, messages, size))
        if reason in self.settings.reasons and (reason, direction) not in ring.said:
            ring.said.add((reason, direction))
            self._write(ring, reason)

    def ending(self, facts: SessionInfo, end: End, time_ns: int) -> None:
        """Keep it."""
        self._keep(facts, lambda each: each.ending(facts, end, time_ns), time_ns)

    def finished(self, facts: SessionInfo, direction: Direction, time_ns: int) -> None:
        """Keep it."""
        self._keep(facts, lambda each: each.finished(facts, direction, time_ns), time_ns)

    def reset(self, facts: SessionInfo, direction: Direction, time_ns: int) -> None:
        """Keep it."""
        ring = self._rings.get(facts.number)
        if ring is not None:
            ring.broken = True
            self._keep(facts, lambda each: each.reset(facts, direction, time_ns), time_ns)

    def ended(self, summary: SessionSummary, time_ns: int) -> None:
        """Write the ring if the end was a bad one, and forget it."""
        ring = self._rings.pop(summary.facts.number, None)
        if ring is None:
            return
        ring.facts = summary.facts
        self._bound.forget(ring)
        reasons = reason_of_end(summary, was_reset=ring.broken)
        reason = next((each for each in reasons if each in self.settings.reasons), None)
        if reason is not None:
            ring.add(_Item(time_ns, lambda each: each.ended(summary, time_ns)))
            self._write(ring, reason)

    def missed(self, facts: SessionInfo | None, lost: Lost, time_ns: int) -> None:
        """Remember that a ring has a hole: it counts if that is ever written."""
        ring = None if facts is None else self._rings.get(facts.number)
        if ring is not None:
            ring.lacks += Loss(lost.messages, lost.size)

    def gone(self, facts: SessionInfo, time_ns: int) -> None:
        """Write what there is: the end of a session that was not told may have been a bad one."""
        ring = self._rings.pop(facts.number, None)
        if ring is not None:
            self._bound.forget(ring)
            if "death" in self.settings.reasons:
                self._write(ring, "death")

    def _keep(self, facts: SessionInfo, event: Event, time_ns: int) -> None:
        ring = self._rings.get(facts.number)
        if ring is not None:
            ring.facts = facts
            self._add(ring, _Item(time_ns, event))

    def _add(self, ring: Ring, item: _Item) -> None:
        ring.add(item)
        self._bound.update(ring)

    # Files.

    def _write(self, ring: Ring, reason: str) -> None:
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
        self._known = None if ring.known is None else ring.known.copy()
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
        known = None if self._known is None else self._known.copy()
        for item in self._items[:skipped]:
            known = known or Known(self._ring.facts)
            item.follow(known)
        return parts, self._ring.tell(recorder, known, self._items[skipped:])
