"""Cuts a part out of a capture: some sessions, some time, the messages that match a filter.

The result is a capture of its own. If the start of a session is cut off, the rest names the version
that its nodes had agreed on, so that it is decoded as before. If they had not agreed yet, their
`version` messages are kept even if the filter does not match them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import msgspec

from lbcproxy.capture.events import CaptureSessionEnded, Event, SectionHeader
from lbcproxy.filters import Filter
from lbcproxy.session import Delivery, Direction, End
from lbcproxy.session.events import (
    Delivered,
    DirectionClosed,
    NotRecorded,
    SessionEnding,
    SessionEvent,
    SessionStarted,
    TransportsAgreed,
    UpstreamConnected,
)
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.wire.messages.handshake import Version

__all__ = ["Cutter", "Selection"]

MAX_VERSIONS = 8
"""`version` messages that are kept of a session; a node sends one."""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted from a capture; None means that anything is."""

    wanted: Filter | None = None
    sessions: frozenset[int] | None = None
    from_ns: int | None = None
    """The start of the wanted time, in nanoseconds since 1970."""
    to_ns: int | None = None
    """The end of the wanted time, inclusive, likewise."""

    def is_early(self, time_ns: int) -> bool:
        """Whether a time is before the wanted time."""
        return self.from_ns is not None and time_ns < self.from_ns

    def is_late(self, time_ns: int) -> bool:
        """Whether a time is after the wanted time."""
        return self.to_ns is not None and time_ns > self.to_ns

    def covers(self, time_ns: int) -> bool:
        """Whether a time is within the wanted time."""
        return not self.is_early(time_ns) and not self.is_late(time_ns)


class Cutter:
    """Returns the selected events of a capture, and counts them."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._sessions: dict[int, _CutSession] = {}
        self.sessions = 0
        """Sessions of which something is left."""
        self.kept = 0
        """Messages that are left."""
        self._seen = 0

    @property
    def left_out(self) -> int:
        """Messages that are not left."""
        return self._seen - self.kept

    def apply(self, events: Iterable[Event]) -> Iterator[Event]:
        """Return what is left of some events; raises what they raise."""
        for event in events:
            self._seen += _count(event)
            for left in self._take(event):
                self.kept += _count(left)
                yield left

    def _take(self, event: Event) -> Iterator[Event]:
        if isinstance(event, SectionHeader):
            self._sessions.clear()
            yield event
        elif isinstance(event, NotRecorded):
            if self._selection.covers(event.time_ns):
                yield event  # it may concern any session
        elif isinstance(event, SessionStarted):
            wanted = self._selection.sessions
            if wanted is None or event.info.number in wanted:
                yield from self._started(event)
        elif isinstance(event, Delivered):
            yield from self._passed(event)
        elif event.info.number in self._sessions:
            yield from self._changed(self._sessions[event.info.number], event)

    def _started(self, event: SessionStarted) -> Iterator[Event]:
        session = self._sessions[event.info.number] = _CutSession(event, self._selection)
        if self._selection.wanted is None and self._selection.covers(event.time_ns):
            yield from self._begin(session, event.time_ns)

    def _begin(self, session: _CutSession, time_ns: int) -> Iterator[Event]:
        if not session.begun:
            self.sessions += 1
            yield from session.begin(time_ns)

    def _passed(self, event: Delivered) -> Iterator[Event]:
        session = self._sessions.get(event.info.number)
        if session is not None and (left := session.left(event)):
            yield from self._begin(session, event.time_ns)
            yield msgspec.structs.replace(event, deliveries=tuple(left))

    def _changed(self, session: _CutSession, event: SessionEvent) -> Iterator[Event]:
        """Pass an event of a session on, if something of that session was passed on before."""
        late = self._selection.is_late(event.time_ns)
        session.info = event.info or session.info
        if isinstance(event, CaptureSessionEnded):
            del self._sessions[event.info.number]
            if session.begun:
                yield msgspec.structs.replace(event, closed=event.closed and not late)
        elif isinstance(event, SessionEnding) and not session.begun:
            session.ending = event.end
        elif isinstance(event, DirectionClosed) and not session.begun:
            session.finished.append(event.direction)
        elif session.begun and not late:
            yield event


class _CutSession:
    """What has to be known about a session to pass on only a part of it."""

    def __init__(self, started: SessionStarted, selection: Selection) -> None:
        self.info = started.info
        self.begun = False
        """Whether its start has been passed on."""
        self.finished: list[Direction] = []
        """Directions that ended before that."""
        self.ending: End | None = None
        """Why it ends, if that was known before."""
        self._started = started
        self._selection = selection
        self._progress_at_first: tuple[bool, int | None] | None = None
        self._version = started.protocol_version
        self._is_complete = started.from_start
        self._versions: dict[Direction, int] = {}
        self._versions_kept: list[Delivered] = []
        self._gaps = {direction: _GapMarker() for direction in Direction}

    def begin(self, time_ns: int) -> Iterator[Event]:
        """Return its start, with the progress that it had made by then."""
        self.begun = True
        time_ns = self._versions_kept[0].time_ns if self._versions_kept else time_ns
        begun, version = self._progress_at_first or self._progress()
        yield SessionStarted(self._started.info, time_ns, begun, version)
        if self.info.local is not None:
            yield UpstreamConnected(self.info, time_ns)
        if self.info.transports:
            yield TransportsAgreed(self.info, time_ns)
        yield from self._versions_kept
        self._versions_kept.clear()
        if self.ending is not None:
            yield SessionEnding(self.info, self.ending, time_ns)
        for direction in self.finished:
            yield DirectionClosed(self.info, direction, time_ns)

    def _progress(self) -> tuple[bool, int | None]:
        """Return whether nothing has been left out so far, and otherwise the agreed version."""
        return self._is_complete, None if self._is_complete else self._version

    def left(self, event: Delivered) -> list[Delivery]:
        """Return the deliveries of an event that are wanted."""
        self.info = event.info
        left: list[Delivery] = []
        in_time = not self._selection.is_early(event.time_ns)
        if self._selection.is_late(event.time_ns):
            return left
        for delivery in event.deliveries:
            kept = self._wanted(delivery) if in_time else []
            if not kept and self._version is None and _is_version(delivery):
                kept = self._hold(event, delivery, begun=self.begun or bool(left))
            elif not kept and not self.begun and not left:
                self._is_complete = False
            if kept and self._progress_at_first is None:
                self._progress_at_first = self._progress()
            left += self._gaps[event.direction].joined(delivery, kept)
            self._see(event.direction, delivery, begun=self.begun or bool(left))
        return left

    def _wanted(self, delivery: Delivery) -> list[Delivery]:
        wanted = self._selection.wanted
        if wanted is None:
            return [delivery]
        run = delivery.run
        if run is None:
            return [delivery] if any(wanted(e, self.info) for e in delivery.entries) else []
        if wanted.commands is not None and wanted.commands.isdisjoint(run.frames.commands):
            return []
        found = [entry for entry in delivery.entries if wanted(entry, self.info)]
        if len(found) == len(run):
            return [delivery]
        return [Delivery(entry.raw, (entry,)) for entry in found]

    def _hold(self, event: Delivered, delivery: Delivery, *, begun: bool) -> list[Delivery]:
        """Keep a `version` message, with which the rest is decoded if any is left."""
        if begun:
            return [delivery]
        if len(self._versions_kept) < MAX_VERSIONS:
            self._versions_kept.append(msgspec.structs.replace(event, deliveries=(delivery,)))
        return []

    def _see(self, direction: Direction, delivery: Delivery, *, begun: bool) -> None:
        """Record what the nodes agree on, as the session core does."""
        if self._version is not None or not _is_version(delivery):
            return
        message = delivery.entries[0].message
        if message is None or message.error is not None:
            return
        assert isinstance(message.record, Version)
        self._versions.setdefault(direction, message.record.version & 0xFFFFFFFF)
        if len(self._versions) == len(Direction):
            self._version = min(self._versions.values())
            if not begun:  # the start names the version, so these are not needed
                self._is_complete = False
                self._versions_kept.clear()


class _GapMarker:
    """Marks gaps in one direction: junk must not be joined to bytes that did not follow it."""

    def __init__(self) -> None:
        self._after_junk = False
        self._skipped = 0

    def joined(self, delivery: Delivery, kept: list[Delivery]) -> list[Delivery]:
        """Return what is kept of a delivery, after a gap if junk is not followed by it."""
        if not kept:
            self._skipped += len(delivery.raw)
            return kept
        first = kept[0].entries[0]
        skipped, self._skipped = self._skipped, 0
        if kept[0] is not delivery:  # only some messages of a run
            left_out = itertools.takewhile(lambda each: each is not first, delivery.entries)
            skipped += sum(len(each.raw) for each in left_out)
        gap = self._after_junk and skipped
        self._after_junk = kept[-1].run is None and kept[-1].entries[-1].message is None
        if not gap:
            return kept
        entry = msgspec.structs.replace(
            kept[0].entries[0],
            message=None,
            junk=b"",
            missing=skipped,
            verdict=EntryVerdict.PASS,
            trail=(),
            form=None,
            why=f"{skipped:,} bytes are left out",
            continued=False,
        )
        return [Delivery(b"", (entry,)), *kept]


def _is_version(delivery: Delivery) -> bool:
    return delivery.run is None and delivery.entries[0].command == "version"


def _count(event: Event) -> int:
    return event.messages if isinstance(event, Delivered) else 0
