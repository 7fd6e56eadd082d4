"""Merges captures into one, in order of time.

Each file is read as it is needed. Sessions get new numbers, in the order in which they start.
Files that follow one another, such as rotated captures, are parts of one: a connection that is open
at the end of one file continues in the next (`lbcproxy.capture.reading.parts`).
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

__all__ = ["Merger", "OnRenumbered"]

replace = msgspec.structs.replace

OnRenumbered: TypeAlias = Callable[[Path, int, int, str], object]
"""Called for each session with its file, its number there, its new number and its network. If a
session continues in several files, it is called for each."""

_UNKNOWN = "0.0.0.0"  # noqa: S104  # stands for an address that is not known


class Merger:
    """Returns the events of several captures as those of one."""

    def __init__(self, captures: Sequence[Capture], on_renumbered: OnRenumbered) -> None:
        self._parts = Parts()
        self._parts.on_continued = self._continued
        self._files = [_File(capture, self._parts) for capture in captures]
        self._on_renumbered = on_renumbered
        self._numbers = itertools.count(1)
        self._next_entry = 1
        self._infos: dict[int, tuple[SessionInfo, SessionInfo]] = {}  # old and new, by old number

    @property
    def absent(self) -> list[str]:
        """Names of parts that should be among the files but are not, as far as these were read."""
        return list(self._parts.absent)

    def events(self) -> Iterator[Event]:
        """Return everything that happened, in order of time.

        A file whose times are not in order keeps its own order. Raises CaptureError at once for a
        file that is not a capture, and at the end for damaged files.
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
        for each in self._read(header):
            for event in pairing.feed(each):
                yield from self._renumbered(event, header)
        for event in pairing.finish():
            yield from self._renumbered(event, header)
        for file in self._files:
            file.check()

    def _header(self) -> SectionHeader:
        """Return the header for all files: it has both legs if one file has both."""
        headers = [file.header for file in self._files]
        named = {header.network for header in headers}
        return SectionHeader(
            network=named.pop() if len(named) == 1 else None,
            legs="both" if any(each.legs == "both" for each in headers) else "client",
            changes=any(each.changes for each in headers),
        )

    def _read(self, merged: SectionHeader) -> Iterator[AssemblerEvent]:
        """Read all files as parts of one, and return what happened without their headers."""
        # Of two files with the same time, the one that started earlier comes first: it may end.
        files = sorted(self._files, key=lambda each: each.first_ns)
        streams = (file.batches() for file in files)
        for _, file, batch in heapq.merge(*streams, key=lambda each: each[0]):
            for each in batch:
                if isinstance(each, SectionHeader):
                    file.begin_section(each, merged)
                else:
                    yield each
        yield from self._parts.finish()

    def _renumbered(self, event: Event, header: SectionHeader) -> Iterator[Event]:
        assert not isinstance(event, SectionHeader)
        if isinstance(event, NotRecorded) or event.info is None:
            yield event
            return
        if isinstance(event, SessionStarted):
            path, number = self._parts.take_origin(event.info.number)
            new = replace(event.info, number=next(self._numbers))
            self._infos[event.info.number] = event.info, new
            self._on_renumbered(path, number, new.number, new.network)
        info = self._new(event.info)
        if isinstance(event, Delivered):
            yield replace(event, info=info, deliveries=self._deliveries(event, info.number))
        elif isinstance(event, CaptureSessionEnded):
            report = replace(event.report, number=info.number)
            yield session_ended(info, report, event.closed, event.time_ns)
            del self._infos[event.info.number]
        else:
            yield replace(event, info=info)
        if isinstance(event, SessionStarted) and header.legs == "both" and self._has_one_leg(path):
            # Its bytes have to be on both legs, like those of the others.
            local = Endpoint(_UNKNOWN, event.info.client.port)
            yield UpstreamConnected(self._new(replace(event.info, local=local)), event.time_ns)

    def _continued(self, path: Path, number: object, info: SessionInfo) -> None:
        if info.number in self._infos and isinstance(number, int):
            new = self._infos[info.number][1]
            self._on_renumbered(path, number, new.number, new.network)

    def _has_one_leg(self, path: Path) -> bool:
        return any(file.path == path and file.header.legs != "both" for file in self._files)

    def _new(self, info: SessionInfo) -> SessionInfo:
        """Return a session's info with its new number."""
        known = self._infos[info.number]
        if known[0] is not info:
            known = info, replace(info, number=known[1].number)
            self._infos[info.number] = known
        return known[1]

    def _deliveries(self, event: Delivered, session: int) -> tuple[Delivery, ...]:
        deliveries = []
        for each in event.deliveries:
            if each.run is not None:
                run = each.run.numbered(self._next_entry, session)
                deliveries.append(replace(each, entries=run, run=run))
            else:
                entries = tuple(
                    replace(entry, session=session, number=number)
                    for number, entry in enumerate(each.entries, self._next_entry)
                )
                deliveries.append(replace(each, entries=entries))
            self._next_entry += len(each.entries)
        return tuple(deliveries)


class _File:
    """One of the captures to be merged."""

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
        """Count the comments on a file of another program, which do not apply to several files."""
        if not self.header.network:
            self._capture.stats.not_kept["comments of the file"] += len(self.header.comments)

    def close(self) -> None:
        """Close the file, even if it has not been read to its end."""
        self._reader.close()

    def batches(self) -> Iterator[tuple[int, _File, list[AssemblerEvent]]]:
        """Return what happened in batches, each with its time; the first one is empty.

        The file is read when it is its turn and not earlier. By then, files that have ended have
        shared what they have open.
        """
        time_ns = self.first_ns
        yield time_ns, self, []
        batch: list[AssemblerEvent] = []
        try:
            for each in self._reader.events():
                batch.append(each)
                if isinstance(each, RewritePending):  # belongs to the next event
                    continue
                time_ns = time_ns if isinstance(each, SectionHeader | RewriteSent) else each.time_ns
                yield time_ns, self, batch
                batch = []
        except CaptureError as error:
            if error.offset is None:
                raise
            self._damage = error

    def begin_section(self, header: SectionHeader, merged: SectionHeader) -> None:
        """Begin a section; CaptureError if it does not fit the header of the merged file."""
        if (header.legs == "both" and merged.legs != "both") or header.changes > merged.changes:
            raise CaptureError(
                f"{self.path} starts with one leg of each session or without changes, and "
                "continues differently: cut it in two by session, and merge those"
            )
        self.header = header

    def check(self) -> None:
        """Raise what is wrong with the file, once all files are read."""
        if self._damage is not None:
            raise CaptureError(f"{self.path}: {self._damage.what}", self._damage.offset)
        self._capture.check()
