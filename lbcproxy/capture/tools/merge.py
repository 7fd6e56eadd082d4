"""Captures put together in the order of time, as one.

Each file is read as it is needed. Sessions are numbered anew, in the order in which they begin.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from lbcproxy.capture.events import Connected, Ended, Event, Header, Passed, Started
from lbcproxy.capture.reading.reader import Capture
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import CaptureError
from lbcproxy.session import Passage, SessionFacts

__all__ = ["Merge", "Renumbered"]

replace = msgspec.structs.replace

Renumbered = Callable[[Path, int, int, str], object]
"""Is told of each session: of which file, its number there, its new one, its network."""

_UNKNOWN = "0.0.0.0"  # noqa: S104  # an address that says there is none


class Merge:
    """Gives the events of some captures as those of one, which is damaged where they are.

    `renumbered` is told where each session came from, when it begins.
    """

    def __init__(self, captures: Sequence[Capture], renumbered: Renumbered) -> None:
        self._files = [_File(capture) for capture in captures]
        self._renumbered = renumbered
        self._numbers = itertools.count(1)
        self._entries = 1  # the next one's number

    def events(self) -> Iterator[Event]:
        """Give all that happened, in order of time; a file whose times run back keeps its order.

        Raises CaptureError for what is no capture at once, and for damaged files at the end.
        """
        for file in self._files:
            file.begin()
        header = self._header()
        yield header
        streams = (file.events() for file in self._files)
        for _, file, event in heapq.merge(*streams, key=lambda each: each[0]):
            yield from self._told(file, event, header)
        for file in self._files:
            if file.damage is not None:
                raise CaptureError(f"{file.path}: {file.damage.what}", file.damage.offset)

    def _header(self) -> Header:
        """Give what holds for all: both legs, if one file has both."""
        headers = [file.header for file in self._files]
        named = {header.network for header in headers}
        return Header(
            network=named.pop() if len(named) == 1 else None,
            legs="both" if any(each.legs == "both" for each in headers) else "client",
            changes=any(each.changes for each in headers),
        )

    def _told(self, file: _File, event: Event, header: Header) -> Iterator[Event]:
        if isinstance(event, Header):
            if (event.legs == "both" and header.legs != "both") or event.changes > header.changes:
                raise CaptureError(
                    f"{file.path} begins with one leg of each session, or with none changed, and "
                    "goes on otherwise: cut it in two by session, and merge these"
                )
            return
        if isinstance(event, Started):
            number = file.numbers[event.facts.number] = next(self._numbers)
            self._renumbered(file.path, event.facts.number, number, event.facts.network)
        facts = file.facts(event.facts)
        if isinstance(event, Passed):
            yield replace(event, facts=facts, passages=self._passages(event, facts.number))
        elif isinstance(event, Ended):
            report = replace(event.report, number=facts.number)
            yield replace(event, facts=facts, report=report)
            file.forget(event.facts.number)
        else:
            yield replace(event, facts=facts)
        if isinstance(event, Started) and header.legs == "both" and file.header.legs != "both":
            # Its bytes are to stand on both legs, as those of the others do.
            local = Endpoint(_UNKNOWN, event.facts.client.port)
            yield Connected(file.facts(replace(event.facts, local=local)), event.time_ns)

    def _passages(self, event: Passed, session: int) -> tuple[Passage, ...]:
        passages = []
        for each in event.passages:
            if each.run is not None:
                run = each.run.numbered(self._entries, session)
                passages.append(replace(each, entries=run, run=run))
            else:
                entries = tuple(
                    replace(entry, session=session, number=number)
                    for number, entry in enumerate(each.entries, self._entries)
                )
                passages.append(replace(each, entries=entries))
            self._entries += len(each.entries)
        return tuple(passages)


class _File:
    """One of the captures, and what its sessions are called now."""

    def __init__(self, capture: Capture) -> None:
        self.path = capture.path
        self.header = Header()
        self.damage: CaptureError | None = None
        self.numbers: dict[int, int] = {}
        self._facts: dict[int, tuple[SessionFacts, SessionFacts]] = {}
        self._told = self._until_damaged(capture)
        self._first: Event | None = None

    def begin(self) -> None:
        """Read to the first thing that happened, behind what the file says of itself."""
        self._first = next(self._told, None)
        if isinstance(self._first, Header):
            self.header = self._first
            self._first = next(self._told, None)

    def events(self) -> Iterator[tuple[int, _File, Event]]:
        """Give the events, each with its time."""
        time_ns = 0
        first = () if self._first is None else (self._first,)
        for event in itertools.chain(first, self._told):
            time_ns = time_ns if isinstance(event, Header) else event.time_ns
            if isinstance(event, Header):
                self.header = event
            yield time_ns, self, event

    def facts(self, facts: SessionFacts) -> SessionFacts:
        """Give a session's facts with its new number."""
        known = self._facts.get(facts.number)
        if known is None or known[0] is not facts:
            known = facts, replace(facts, number=self.numbers[facts.number])
            self._facts[facts.number] = known
        return known[1]

    def forget(self, number: int) -> None:
        """Let go what was kept of a session."""
        del self.numbers[number], self._facts[number]

    def _until_damaged(self, capture: Capture) -> Iterator[Event]:
        try:
            yield from capture.events()
        except CaptureError as error:
            if error.offset is None:
                raise
            self.damage = error
