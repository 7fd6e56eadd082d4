"""Two captures compared as conversations, in one pass over both."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from lbcproxy.capture import Capture
from lbcproxy.errors import CaptureError
from lbcproxy.replay.compare import LIVE, RECORDED, Comparison
from lbcproxy.replay.difference import MOST_DIFFERENCES, Difference, Report
from lbcproxy.replay.meaning import JUNK, Said
from lbcproxy.replay.volatile import Ignored
from lbcproxy.session import Direction, Entry

__all__ = ["Diff"]

NAMES = ("A", "B")
MOST_JUNK = 1 << 16
"""Bytes that are compared of a run of junk."""


class Diff:
    """A comparison of two captures.

    The first session of one is compared with the first of the other, and so on, in the order in
    which they begin; with `only`, the sessions of these two numbers. Both files are read side by
    side and once; what was injected while they were recorded is left out.
    """

    def __init__(
        self,
        one: Capture,
        other: Capture,
        ignored: Ignored,
        *,
        only: tuple[int, int] | None = None,
    ) -> None:
        self._captures = (one, other)
        self._ignored = ignored
        self._only = only
        self._pairs: list[_Pair] = []
        self._by_number: tuple[dict[int, _Pair], ...] = ({}, {})
        self._met = [0, 0]
        self._gaps = [0, 0]
        self._reports: list[tuple[int, Report]] = []
        self.damage: CaptureError | None = None
        """Why one of them could not be read to its end; what stands before it was compared."""

    def run(self) -> Report:
        """Read both and give the report; raises UnknownNetwork, OSError."""
        sides = [self._read(side) for side in (RECORDED, LIVE)]
        while sides:
            for each in list(sides):
                if next(each, None) is None:
                    sides.remove(each)
        for pair in self._pairs:
            self._finish(pair)
        reports = [report for _, report in sorted(self._reports, key=lambda each: each[0])]
        found = [each for report in reports for each in report.differences]
        return Report(
            differences=tuple(found[:MOST_DIFFERENCES]),
            count=sum(report.count for report in reports),
            matched=sum(report.matched for report in reports),
            recorded=sum(report.recorded for report in reports),
            live=sum(report.live for report in reports),
            names=NAMES,
            notices=tuple(self._notices()),
        )

    def _read(self, side: int) -> Iterator[bool]:
        """Take the messages of a side, one at a time."""
        capture = self._captures[side]
        capture.ended = lambda report: self._ended(side, report.number)
        entries = _entries(self._without_gaps(side, iter(capture)))
        while True:
            try:
                found = next(entries, None)
            except CaptureError as error:
                if error.offset is None:
                    raise
                self.damage = self.damage or error
                return
            if found is None:
                return
            session, said = found
            pair = self._pair(side, session)
            if pair is not None:
                pair.comparison.take(side, said)
            yield True

    def _without_gaps(self, side: int, entries: Iterator[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if entry.missing:
                self._gaps[side] += entry.missing
            elif entry.verdict != "inject":
                yield entry

    def _pair(self, side: int, number: int) -> _Pair | None:
        """Give the pair of sessions that one belongs to."""
        pair = self._by_number[side].get(number)
        if pair is not None:
            return pair
        if self._only is not None and number != self._only[side]:
            return None
        place = self._met[side]
        self._met[side] += 1
        if place == len(self._pairs):
            self._pairs.append(_Pair(place))
        pair = self._pairs[place]
        pair.begin(side, number, self._ignored)
        self._by_number[side][number] = pair
        return pair

    def _ended(self, side: int, number: int) -> None:
        """Settle a pair whose sessions are both over."""
        pair = self._by_number[side].get(number)
        if pair is not None:
            pair.over.add(side)
            if len(pair.over) == len(NAMES):
                self._finish(pair)

    def _finish(self, pair: _Pair) -> None:
        if pair.done:
            return
        pair.done = True
        report = pair.report()
        for side, number in pair.numbers.items():
            self._by_number[side].pop(number, None)
        kept = sum(len(each.differences) for _, each in self._reports)
        report.differences = report.differences[: max(0, MOST_DIFFERENCES - kept)]
        self._reports.append((pair.place, report))

    def _notices(self) -> Iterator[str]:
        if self.damage is not None:
            yield "a file is damaged; what stands before it was compared"
        for side, name in enumerate(NAMES):
            if self._gaps[side]:
                yield f"{self._gaps[side]:,} bytes are missing from {name}"
            if self._captures[side].met.segments:
                yield from (f"{name}: {words}" for words in self._captures[side].met.notices)
            if self._only is not None and not self._met[side]:
                yield f"there is no session {self._only[side]} in {name}"


class _Pair:
    """Two sessions, one of each file; or one, where the other file has no more."""

    def __init__(self, place: int) -> None:
        self.place = place
        self.numbers: dict[int, int] = {}
        self.over: set[int] = set()
        self.done = False
        self.comparison: Comparison

    def begin(self, side: int, number: int, ignored: Ignored) -> None:
        if not self.numbers:
            self.comparison = Comparison(ignored)
        self.numbers[side] = number
        self.comparison.session = self.numbers.get(RECORDED, number)

    def report(self) -> Report:
        report = self.comparison.finish()
        del self.comparison
        if len(self.numbers) == len(NAMES):
            return report
        [(side, number)] = self.numbers.items()
        messages = (report.recorded, report.live)[side]
        alone = Difference(
            kind=("missing", "extra")[side],
            place=0,
            session=number,
            words=f"the whole session, {messages:,} messages",
        )
        return msgspec.structs.replace(report, differences=(alone,), count=1)


def _entries(entries: Iterator[Entry]) -> Iterator[tuple[int, Said]]:
    """Give messages with their session, and a run of junk as one, however it was cut."""
    runs: dict[tuple[int, Direction], _Run] = {}
    for entry in entries:
        key = entry.session, entry.direction
        run = runs.get(key)
        if entry.message is None and entry.continued and run is not None:
            run.add(entry.junk)
            continue
        if run is not None:
            yield entry.session, runs.pop(key).said()
        if entry.message is None:
            runs[key] = _Run(entry)
        else:
            yield entry.session, Said.of(entry)
    for (session, _), run in runs.items():
        yield session, run.said()


class _Run:
    """Bytes one behind the other that are no message."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._bytes = bytearray(entry.junk[:MOST_JUNK])

    def add(self, data: bytes) -> None:
        self._bytes += data[: MOST_JUNK - len(self._bytes)]

    def said(self) -> Said:
        data = bytes(self._bytes)
        said = Said.of(self._entry)
        return msgspec.structs.replace(said, command=JUNK, content=lambda: data, held=len(data))
