"""A part of a capture: of some sessions, of some time, of the messages a filter matches.

What is left is a capture of its own. A session that is cut at its beginning says what its nodes
had agreed on, so that the rest of it is read as it was; where they had agreed on nothing yet, their
`version` messages are kept whatever the filter says.
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
    UpstreamConnected,
)
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.wire.messages.handshake import Version

__all__ = ["Cut", "Selection"]

MOST_VERSIONS = 8
"""Messages `version` that are held of a session; a node sends one."""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of a capture; what is not said is not asked."""

    wanted: Filter | None = None
    sessions: frozenset[int] | None = None
    from_ns: int | None = None
    """The first time that is wanted: nanoseconds since 1970."""
    to_ns: int | None = None
    """The last."""

    def early(self, time_ns: int) -> bool:
        """Whether a time is before what is wanted."""
        return self.from_ns is not None and time_ns < self.from_ns

    def late(self, time_ns: int) -> bool:
        """Whether a time is behind it."""
        return self.to_ns is not None and time_ns > self.to_ns


class Cut:
    """Gives what is left of the events of a capture, and counts."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._sessions: dict[int, _Session] = {}
        self.sessions = 0
        """Of how many something is left."""
        self.kept = 0
        """Messages that are left."""
        self._seen = 0

    @property
    def left_out(self) -> int:
        """How many are not."""
        return self._seen - self.kept

    def of(self, events: Iterable[Event]) -> Iterator[Event]:
        """Give what is left of some events; raises what they raise."""
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
            if not (self._selection.early(event.time_ns) or self._selection.late(event.time_ns)):
                yield event  # nobody knows of which session it is
        elif isinstance(event, SessionStarted):
            wanted = self._selection.sessions
            if wanted is None or event.info.number in wanted:
                yield from self._started(event)
        elif isinstance(event, Delivered):
            yield from self._passed(event)
        elif event.info.number in self._sessions:
            yield from self._changed(self._sessions[event.info.number], event)

    def _started(self, event: SessionStarted) -> Iterator[Event]:
        session = self._sessions[event.info.number] = _Session(event, self._selection)
        late, early = self._selection.late(event.time_ns), self._selection.early(event.time_ns)
        if self._selection.wanted is None and not early and not late:
            yield from self._begin(session, event.time_ns)

    def _begin(self, session: _Session, time_ns: int) -> Iterator[Event]:
        if not session.begun:
            self.sessions += 1
            yield from session.begin(time_ns)

    def _passed(self, event: Delivered) -> Iterator[Event]:
        session = self._sessions.get(event.info.number)
        if session is not None and (left := session.left(event)):
            yield from self._begin(session, event.time_ns)
            yield msgspec.structs.replace(event, deliveries=tuple(left))

    def _changed(
        self,
        session: _Session,
        event: SessionEvent,
    ) -> Iterator[Event]:
        """Tell what became of a session, if something of it was told."""
        late = self._selection.late(event.time_ns)
        session.facts = event.info or session.facts
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


class _Session:
    """What has to be known of a session to tell the rest of it alone."""

    def __init__(self, started: SessionStarted, selection: Selection) -> None:
        self.facts = started.info
        self.begun = False
        """Whether it has been told that it began."""
        self.finished: list[Direction] = []
        """What ended before that."""
        self.ending: End | None = None
        """Why it ends, if that was told before."""
        self._started = started
        self._selection = selection
        self._first: tuple[bool, int | None] | None = None
        self._version = started.protocol_version
        self._whole = started.from_start
        self._versions: dict[Direction, int] = {}
        self._held: list[Delivered] = []
        self._ways = {direction: _Way() for direction in Direction}

    def begin(self, time_ns: int) -> Iterator[Event]:
        """Tell how far it had come."""
        self.begun = True
        time_ns = self._held[0].time_ns if self._held else time_ns
        begun, version = self._first or self._place()
        yield SessionStarted(self._started.info, time_ns, begun, version)
        if self.facts.local is not None:
            yield UpstreamConnected(self.facts, time_ns)
        yield from self._held
        self._held.clear()
        if self.ending is not None:
            yield SessionEnding(self.facts, self.ending, time_ns)
        for direction in self.finished:
            yield DirectionClosed(self.facts, direction, time_ns)

    def _place(self) -> tuple[bool, int | None]:
        """Tell how far it has come now: whether all of it is told, else with what version."""
        return self._whole, None if self._whole else self._version

    def left(self, event: Delivered) -> list[Delivery]:
        """Give what is wanted of what passed."""
        self.facts = event.info
        left: list[Delivery] = []
        in_time = not self._selection.early(event.time_ns)
        if self._selection.late(event.time_ns):
            return left
        for delivery in event.deliveries:
            kept = self._wanted(delivery) if in_time else []
            if not kept and self._version is None and _is_version(delivery):
                kept = self._hold(event, delivery, begun=self.begun or bool(left))
            elif not kept and not self.begun and not left:
                self._whole = False
            if kept and self._first is None:
                self._first = self._place()
            left += self._ways[event.direction].joined(delivery, kept)
            self._see(event.direction, delivery, begun=self.begun or bool(left))
        return left

    def _wanted(self, delivery: Delivery) -> list[Delivery]:
        wanted = self._selection.wanted
        if wanted is None:
            return [delivery]
        run = delivery.run
        if run is None:
            return [delivery] if any(wanted(e, self.facts) for e in delivery.entries) else []
        if wanted.commands is not None and wanted.commands.isdisjoint(run.frames.commands):
            return []
        found = [entry for entry in delivery.entries if wanted(entry, self.facts)]
        if len(found) == len(run):
            return [delivery]
        return [Delivery(entry.raw, (entry,)) for entry in found]

    def _hold(self, event: Delivered, delivery: Delivery, *, begun: bool) -> list[Delivery]:
        """Keep a `version` that what is left is read with, if something is."""
        if begun:
            return [delivery]
        if len(self._held) < MOST_VERSIONS:
            self._held.append(msgspec.structs.replace(event, deliveries=(delivery,)))
        return []

    def _see(self, direction: Direction, delivery: Delivery, *, begun: bool) -> None:
        """Take note of what the nodes agree on, as the session that reads them does."""
        if self._version is not None or not _is_version(delivery):
            return
        message = delivery.entries[0].message
        if message is None or message.error is not None:
            return
        assert isinstance(message.record, Version)
        self._versions.setdefault(direction, message.record.version & 0xFFFFFFFF)
        if len(self._versions) == len(Direction):
            self._version = min(self._versions.values())
            if not begun:  # it is said where the rest begins, and these are not needed
                self._whole = False
                self._held.clear()


class _Way:
    """One direction: bytes that are no message may not run into what did not follow them."""

    def __init__(self) -> None:
        self._behind_junk = False
        self._skipped = 0

    def joined(self, delivery: Delivery, kept: list[Delivery]) -> list[Delivery]:
        """Give what is kept of a delivery, behind a gap if something before it is missing."""
        if not kept:
            self._skipped += len(delivery.raw)
            return kept
        first = kept[0].entries[0]
        skipped, self._skipped = self._skipped, 0
        if kept[0] is not delivery:  # of a run, some
            left_out = itertools.takewhile(lambda each: each is not first, delivery.entries)
            skipped += sum(len(each.raw) for each in left_out)
        gap = self._behind_junk and skipped
        self._behind_junk = kept[-1].run is None and kept[-1].entries[-1].message is None
        if not gap:
            return kept
        entry = msgspec.structs.replace(
            kept[0].entries[0],
            message=None,
            junk=b"",
            missing=skipped,
            verdict=EntryVerdict.PASS,
            trail=(),
            why=f"{skipped:,} bytes are left out",
            continued=False,
        )
        return [Delivery(b"", (entry,)), *kept]


def _is_version(delivery: Delivery) -> bool:
    return delivery.run is None and delivery.entries[0].command == "version"


def _count(event: Event) -> int:
    return event.messages if isinstance(event, Delivered) else 0
