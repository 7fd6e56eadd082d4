"""Compares two captures as conversations, in one pass over both."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from lbcproxy.capture import Capture
from lbcproxy.errors import CaptureError
from lbcproxy.replay.comparing.compare import LIVE, RECORDED, Comparison
from lbcproxy.replay.comparing.difference import MAX_DIFFERENCES, ComparisonReport, Difference
from lbcproxy.replay.comparing.ignored_fields import IgnoredFields
from lbcproxy.replay.comparing.normalize import ComparedMessage
from lbcproxy.session.verdict import EntryVerdict

__all__ = ["Diff"]

NAMES = ("A", "B")


class Diff:
    """A comparison of two captures.

    The first session of one is compared with the first of the other, and so on, in the order of
    their first messages. Both files are read once, in parallel. Injected messages are left out.

    Args:
        one: The first capture.
        other: The second capture.
        ignored: The fields and commands that are not compared.
        only: The numbers of the two sessions to compare; None for all.
    """

    def __init__(
        self,
        one: Capture,
        other: Capture,
        ignored: IgnoredFields,
        *,
        only: tuple[int, int] | None = None,
    ) -> None:
        self._captures = (one, other)
        self._ignored = ignored
        self._only = only
        self._pairs: dict[int, _SessionPair] = {}
        self._by_number: tuple[dict[int, _SessionPair], ...] = ({}, {})
        self._met = [0, 0]
        self._gaps = [0, 0]  # how many
        self._missing = [0, 0]  # bytes in those of known size
        self._sums = [0, 0, 0, 0]
        self._found: list[tuple[int, Difference]] = []
        self.damage: CaptureError | None = None
        """Why one of them could not be read to its end; the part before it was compared."""

    def run(self) -> ComparisonReport:
        """Read both and return the report; raises UnknownNetwork, OSError."""
        sides = [self._read(side) for side in (RECORDED, LIVE)]
        while sides:
            for each in list(sides):
                if next(each, None) is None:
                    sides.remove(each)
        for pair in list(self._pairs.values()):
            self._finish(pair)
        count, matched, recorded, live = self._sums
        return ComparisonReport(
            differences=tuple(each for _, each in sorted(self._found, key=lambda each: each[0])),
            count=count,
            matched=matched,
            recorded=recorded,
            live=live,
            names=NAMES,
            notices=tuple(self._notices()),
        )

    def _read(self, side: int) -> Iterator[bool]:
        """Add the messages of a side, one for each step."""
        capture = self._captures[side]
        capture.on_session_ended = lambda report: self._ended(side, report.number)
        try:
            for entry in capture:
                if entry.missing:
                    self._gaps[side] += 1
                    self._missing[side] += max(entry.missing, 0)
                elif entry.verdict != EntryVerdict.INJECT:
                    pair = self._pair(side, entry.session)
                    if pair is not None:
                        pair.comparison.add_message(side, ComparedMessage.of(entry))
                yield True
        except CaptureError as error:
            if error.offset is None:
                raise
            self.damage = self.damage or error

    def _pair(self, side: int, number: int) -> _SessionPair | None:
        """Return the pair of sessions that one belongs to."""
        pair = self._by_number[side].get(number)
        if pair is not None:
            return pair
        if self._only is not None and number != self._only[side]:
            return None
        position = self._met[side]
        self._met[side] += 1
        pair = self._pairs.setdefault(position, _SessionPair(position))
        pair.begin(side, number, self._ignored)
        self._by_number[side][number] = pair
        return pair

    def _ended(self, side: int, number: int) -> None:
        """Finish a pair if both of its sessions have ended."""
        pair = self._by_number[side].get(number)
        if pair is not None:
            pair.over.add(side)
            if len(pair.over) == len(NAMES):
                self._finish(pair)

    def _finish(self, pair: _SessionPair) -> None:
        """Add the report of a pair to the result, and remove the pair."""
        del self._pairs[pair.position]
        for side, number in pair.numbers.items():
            del self._by_number[side][number]
        report = pair.report()
        counts = report.count, report.matched, report.recorded, report.live
        self._sums = [one + other for one, other in zip(self._sums, counts, strict=True)]
        room = MAX_DIFFERENCES - len(self._found)
        self._found += [(pair.position, each) for each in report.differences[:room]]

    def _notices(self) -> Iterator[str]:
        if self.damage is not None:
            yield "a file is damaged; the part before the damage was compared"
        for side, name in enumerate(NAMES):
            if self._gaps[side]:
                count = self._missing[side]
                how_many = f"{count:,}" if count else "an unknown number of"
                yield f"{how_many} bytes are missing from {name}"
            yield from (f"{name}: {words}" for words in self._captures[side].stats.notices)
            if self._only is not None and not self._met[side]:
                yield f"there is no session {self._only[side]} in {name}"


class _SessionPair:
    """Two sessions, one from each file; or one, if the other file has no more."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.numbers: dict[int, int] = {}
        self.over: set[int] = set()
        self.comparison: Comparison

    def begin(self, side: int, number: int, ignored: IgnoredFields) -> None:
        if not self.numbers:
            self.comparison = Comparison(ignored)
        self.numbers[side] = number
        self.comparison.session = self.numbers.get(RECORDED, number)

    def report(self) -> ComparisonReport:
        report = self.comparison.finish()
        if len(self.numbers) == len(NAMES):
            return report
        [(side, number)] = self.numbers.items()
        messages = (report.recorded, report.live)[side]
        alone = Difference(
            kind=("missing", "extra")[side],
            position=0,
            session=number,
            words=f"the whole session, {messages:,} messages",
        )
        return msgspec.structs.replace(report, differences=(alone,), count=1)
