"""Captures put together in the order of time, as one.

Each file is read as it is needed. Sessions are numbered anew, in the order in which they begin.
Files that follow one another, as rotated captures do, are parts of one: a connection that is open
where one ends goes on in the next (`lbcproxy.capture.reading.parts`).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import msgspec

from lbcproxy.capture.events import CaptureSessionEnded, Event, SectionHeader, session_ended
from lbcproxy.capture.reader import Capture
from lbcproxy.capture.reading.assembler import AssemblerEvent
from lbcproxy.capture.reading.pairing import Pairing, RewritePending, RewriteSent
from lbcproxy.capture.reading.parts import Parts
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import CaptureError
from lbcproxy.session import Delivery, SessionInfo
from lbcproxy.session.events import Delivered, NotRecorded, SessionStarted, UpstreamConnected

__all__ = ["Merge", "Renumbered"]

replace = msgspec.structs.replace

Renumbered: TypeAlias = Callable[[Path, int, int, str], object]
"""Is told of each session: of which file, its number there, its new one, its network. Of one that
goes on in several files it is told for each."""

_UNKNOWN = "0.0.0.0"  # noqa: S104  # an address that says there is none


class Merge:
    """Gives the events of some captures as those of one, which is damaged where they are.

    `renumbered` is told where each session came from, when it begins.
    """

    def __init__(self, captures: Sequence[Capture], renumbered: Renumbered) -> None:
        self._parts = Parts()
        self._parts.on_continued = self._continued
        self._files = [_File(capture, self._parts) for capture in captures]
        self._renumbered = renumbered
        self._numbers = itertools.count(1)
        self._entries = 1  # the next one's number
        self._facts: dict[int, tuple[SessionInfo, SessionInfo]] = {}  # by the number before

    @property
    def absent(self) -> list[str]:
        """Names of parts that should be among the files, as far as these were read."""
        return list(self._parts.absent)

    def events(self) -> Iterator[Event]:
        """Give all that happened, in order of time; a file whose times run back keeps its order.

        Raises CaptureError for what is no capture at once, and for damaged files at the end.
        """
        with ExitStack() as stack:
            for file in self._files:
                stack.callback(file.close)
                file.begin()
            yield from self._events()

    def _events(self) -> Iterator[Event]:
        header = self._header()
        for file in self._files:
            file.count_comments()
        yield header
        pairing = Pairing()
        for told in self._read(header):
            for event in pairing.feed(told):
                yield from self._told(event, header)
        for event in pairing.finish():
            yield from self._told(event, header)
        for file in self._files:
            file.check()

    def _header(self) -> SectionHeader:
        """Give what holds for all: both legs, if one file has both."""
        headers = [file.header for file in self._files]
        named = {header.network for header in headers}
        return SectionHeader(
            network=named.pop() if len(named) == 1 else None,
            legs="both" if any(each.legs == "both" for each in headers) else "client",
            changes=any(each.changes for each in headers),
        )

    def _read(self, merged: SectionHeader) -> Iterator[AssemblerEvent]:
        """Read all files as parts of one, and give what happened but their headers."""
        # Of two at the same time the one that began before goes first: it may end there.
        files = sorted(self._files, key=lambda each: each.first_ns)
        streams = (file.told() for file in files)
        for _, file, told in heapq.merge(*streams, key=lambda each: each[0]):
            for each in told:
                if isinstance(each, SectionHeader):
                    file.take_header(each, merged)
                else:
                    yield each
        yield from self._parts.finish()

    def _told(self, event: Event, header: SectionHeader) -> Iterator[Event]:
        assert not isinstance(event, SectionHeader)
        if isinstance(event, NotRecorded) or event.info is None:
            yield event
            return
        if isinstance(event, SessionStarted):
            path, number = self._parts.take_origin(event.info.number)
            new = replace(event.info, number=next(self._numbers))
            self._facts[event.info.number] = event.info, new
            self._renumbered(path, number, new.number, new.network)
        facts = self._new(event.info)
        if isinstance(event, Delivered):
            yield replace(event, info=facts, deliveries=self._deliveries(event, facts.number))
        elif isinstance(event, CaptureSessionEnded):
            report = replace(event.report, number=facts.number)
            yield session_ended(facts, report, event.closed, event.time_ns)
            del self._facts[event.info.number]
        else:
            yield replace(event, info=facts)
        if isinstance(event, SessionStarted) and header.legs == "both" and self._has_one_leg(path):
            # Its bytes are to stand on both legs, as those of the others do.
            local = Endpoint(_UNKNOWN, event.info.client.port)
            yield UpstreamConnected(self._new(replace(event.info, local=local)), event.time_ns)

    def _continued(self, path: Path, number: object, facts: SessionInfo) -> None:
        if facts.number in self._facts and isinstance(number, int):
            new = self._facts[facts.number][1]
            self._renumbered(path, number, new.number, new.network)

    def _has_one_leg(self, path: Path) -> bool:
        return any(file.path == path and file.header.legs != "both" for file in self._files)

    def _new(self, facts: SessionInfo) -> SessionInfo:
        """Give a session's facts with its new number."""
        known = self._facts[facts.number]
        if known[0] is not facts:
            known = facts, replace(facts, number=known[1].number)
            self._facts[facts.number] = known
        return known[1]

    def _deliveries(self, event: Delivered, session: int) -> tuple[Delivery, ...]:
        deliveries = []
        for each in event.deliveries:
            if each.run is not None:
                run = each.run.numbered(self._entries, session)
                deliveries.append(replace(each, entries=run, run=run))
            else:
                entries = tuple(
                    replace(entry, session=session, number=number)
                    for number, entry in enumerate(each.entries, self._entries)
                )
                deliveries.append(replace(each, entries=entries))
            self._entries += len(each.entries)
        return tuple(deliveries)


class _File:
    """One of the captures."""

    def __init__(self, capture: Capture, parts: Parts) -> None:
        self.path = capture.path
        self.header = SectionHeader()
        self.first_ns = 0
        self._capture = capture
        self._reader = capture.open_part(parts)
        self._damage: CaptureError | None = None

    def begin(self) -> None:
        """Read to the first packet."""
        self.first_ns = self._reader.begin()
        self.header = self._reader.header

    def count_comments(self) -> None:
        """Count what others said of the file: it is not said of several."""
        if not self.header.network:
            self._capture.stats.not_kept["comments of the file"] += len(self.header.comments)

    def close(self) -> None:
        """Close the file, wherever reading has come to."""
        self._reader.close()

    def told(self) -> Iterator[tuple[int, _File, list[AssemblerEvent]]]:
        """Give what happened, each with its time; first nothing, at the time when it begins.

        It is read when its turn comes, not before: those that end by then have left to it what they
        have open.
        """
        time_ns = self.first_ns
        yield time_ns, self, []
        together: list[AssemblerEvent] = []
        try:
            for each in self._reader.events():
                together.append(each)
                if isinstance(each, RewritePending):  # of what comes next
                    continue
                time_ns = time_ns if isinstance(each, SectionHeader | RewriteSent) else each.time_ns
                yield time_ns, self, together
                together = []
        except CaptureError as error:
            if error.offset is None:
                raise
            self._damage = error

    def take_header(self, header: SectionHeader, merged: SectionHeader) -> None:
        """Begin a section; raises CaptureError if what all have in common does not hold for it."""
        if (header.legs == "both" and merged.legs != "both") or header.changes > merged.changes:
            raise CaptureError(
                f"{self.path} begins with one leg of each session, or with none changed, and "
                "goes on otherwise: cut it in two by session, and merge these"
            )
        self.header = header

    def check(self) -> None:
        """Raise what is wrong with it, once all are read."""
        if self._damage is not None:
            raise CaptureError(f"{self.path}: {self._damage.what}", self._damage.offset)
        self._capture.check()
