"""A capture in numbers: who, when, how much, and what is wrong.

Everything is counted while the capture is read. Lists are bounded, so that memory does not grow
with the file; what exceeds a bound is still counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypedDict

import msgspec

from lbcproxy.capture.reader import Capture
from lbcproxy.capture.session_report import SessionReport
from lbcproxy.capture.tools.response_times import PairStatistics, ResponseTimes
from lbcproxy.capture.tools.summary_json import (
    JsonObject,
    counters_object,
    damage_object,
    loss_object,
    session_object,
    user_agent_text,
)
from lbcproxy.capture.tools.timeline import Timeline
from lbcproxy.errors import CaptureError
from lbcproxy.session import UNKNOWN_SIZE, Direction, Entry
from lbcproxy.session.command_counter import OTHERS
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.text import iso_time, printable

__all__ = ["OTHERS", "Amount", "Summary", "summarise"]

MAX_SESSIONS = 1_000
MAX_LISTED = 100
MAX_COMMANDS = 200
MAX_NAMES = 200
"""Hosts, user agents and deciders that are counted by name."""
JUNK = "(junk)"


class Rates(TypedDict):
    """Messages and bytes per second; None if no time has passed."""

    messages: float | None
    bytes: float | None


class Amount(msgspec.Struct):
    """Messages of one command in one direction."""

    count: int = 0
    bytes: int = 0
    """Headers and payloads."""
    errors: int = 0


class Tally:
    """Counts by name; after the first 200 names, the rest are counted as `(others)`."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str | int, ...]] = Counter()

    def add(self, *names: str | int) -> None:
        """Count one."""
        if names not in self._counts and len(self._counts) >= MAX_NAMES:
            names = (names[0], *(OTHERS for _ in names[1:]))
        self._counts[names] += 1

    def to_list(self, *keys: str) -> list[JsonObject]:
        """Return an object for each, with the names under these keys; the highest count first."""
        ordered = sorted(self._counts.items(), key=lambda each: (-each[1], str(each[0])))
        return [{**dict(zip(keys, names, strict=True)), "count": n} for names, n in ordered]


class Summary:
    """What is known about a capture so far."""

    def __init__(
        self, capture: Capture, *, decode: bool = True, timeline: Timeline | None = None
    ) -> None:
        self.capture = capture
        self.timeline = timeline
        self.damage: CaptureError | None = None
        """The damage at which reading stopped, if there is any."""
        self.networks: set[str] = set()
        self.amounts: dict[tuple[str, Direction], Amount] = {}
        """By command; bytes that are not a message are under `(junk)`."""
        self.sessions: list[SessionReport] = []
        """The first ones that ended."""
        self.session_count = 0
        self.gaps: list[JsonObject] = []
        """The first ones."""
        self.gap_count = self.missing = self.unsized_gaps = 0
        self.errors: list[JsonObject] = []
        """The first messages with errors, and the first runs of bytes that are not a message."""
        self.error_count = 0
        self.verdicts: Counter[str] = Counter()
        """Verdicts other than `pass`."""
        self.deciders = Tally()
        """The same by verdict and decider."""
        self.peers = Tally()
        """Sessions by side and address."""
        self.agents = Tally()
        """Sessions by side, user agent and version."""
        self.response_times = ResponseTimes() if decode else None
        """None if payloads are not decoded."""
        self._decode = decode

    def add(self, entry: Entry) -> None:
        """Count an entry."""
        if entry.verdict != EntryVerdict.PASS:
            self.verdicts[entry.verdict] += 1
            for who in _deciders(entry.trail):
                self.deciders.add(entry.verdict, who)
        if entry.missing:
            self.gap_count += 1
            if entry.missing == UNKNOWN_SIZE:
                self.unsized_gaps += 1
            else:
                self.missing += entry.missing
            _keep(self.gaps, _gap(entry))
            return
        message = entry.message
        if message is not None:
            error = message.error if self._decode else message.frame_error
        else:
            error = None if entry.continued else entry.why  # counted as in a live session
        name = JUNK if message is None else printable(entry.command) or "(empty)"
        amount = self._amount(name, entry.direction)
        amount.count += not entry.continued
        amount.bytes += len(entry.raw)
        if self.timeline is not None and message is not None:
            self.timeline.add(name, entry.time_ns, len(entry.raw))
        if self.response_times is not None and error is None:
            self.response_times.add(entry)
        if error is not None:
            amount.errors += 1
            self.error_count += 1
            _keep(self.errors, _error(entry, name, error))

    def session_ended(self, report: SessionReport) -> None:
        """Count a session that has ended."""
        self.session_count += 1
        self.networks.add(report.network)
        if self.response_times is not None:
            self.response_times.session_ended(report.number)
        node = report.upstream or str(report.server)
        for side, address, known in (
            ("client", report.client.host, report.to_upstream),  # its port is arbitrary
            ("node", node, report.to_client),
        ):
            self.peers.add(side, address)
            if known.version is not None:
                self.agents.add(side, user_agent_text(known.user_agent or b""), known.version)
        if len(self.sessions) < MAX_SESSIONS:
            self.sessions.append(report)

    def total(self, direction: Direction) -> Amount:
        """Return the sum of all messages of a direction."""
        return _sum(
            amount
            for (command, each), amount in self.amounts.items()
            if each is direction and command != JUNK
        )

    def rates(self, seconds: float | None) -> Rates:
        """Return messages and bytes per second."""
        totals = [self.total(direction) for direction in Direction]
        if not seconds:
            return {"messages": None, "bytes": None}
        return {
            "messages": sum(each.count for each in totals) / seconds,
            "bytes": sum(each.bytes for each in totals) / seconds,
        }

    def _amount(self, command: str, direction: Direction) -> Amount:
        found = self.amounts.get((command, direction))
        if found is None:
            if len(self.amounts) >= MAX_COMMANDS:
                command = OTHERS
            found = self.amounts.setdefault((command, direction), Amount())
        return found

    def to_dict(self) -> JsonObject:
        """Return all of it as an object; the keys are public."""
        return {
            **self._overview(),
            **self._traffic(),
            **self._problems(),
            **self._details(),
            **self._not_read(),
            "damage": None if self.damage is None else damage_object(self.damage),
        }

    def _overview(self) -> JsonObject:
        """Return what the file is, and the time that it covers."""
        stats = self.capture.stats
        first, last = stats.first_ns, stats.last_ns
        return {
            "file": str(self.capture.path),
            "format": stats.format,
            "size": _size(self.capture.path),
            "comments": stats.comments,
            "networks": sorted(self.networks),
            "begin": None if first is None else iso_time(first),
            "end": None if last is None else iso_time(last),
            "seconds": self.seconds,
            "sections": stats.sections,
            "packets": stats.packets,
        }

    @property
    def seconds(self) -> float | None:
        """The time from the first packet to the last; None if no packet has a time."""
        first, last = self.capture.stats.first_ns, self.capture.stats.last_ns
        return None if first is None or last is None else (last - first) / 1e9

    def _traffic(self) -> JsonObject:
        """Return sessions and messages."""
        return {
            "session_count": self.session_count,
            "sessions": [session_object(each) for each in sorted(self.sessions, key=_number)],
            "messages": {each.value: _amount(self.total(each)) for each in Direction},
            "rates": self.rates(self.seconds),
            "commands": [
                {"command": command, "direction": direction.value, **_amount(amount)}
                for (command, direction), amount in sorted(self.amounts.items())
                if command != JUNK
            ],
        }

    def _problems(self) -> JsonObject:
        """Return junk, gaps and errors."""
        return {
            "junk": {each.value: _junk(self.amounts.get((JUNK, each))) for each in Direction},
            "gap_count": self.gap_count,
            "missing": self.missing,
            "gaps_of_unknown_size": self.unsized_gaps,
            "gaps": self.gaps,
            "error_count": self.error_count,
            "errors": self.errors,
        }

    def _details(self) -> JsonObject:
        """Return verdicts, peers and response times."""
        answers: list[PairStatistics] = []
        if self.response_times is not None:
            answers = self.response_times.to_list()
        return {
            "verdicts": dict(sorted(self.verdicts.items())),
            "deciders": self.deciders.to_list("verdict", "who"),
            "peers": self.peers.to_list("side", "address"),
            "agents": self.agents.to_list("side", "user_agent", "version"),
            "answers": answers,
        }

    def _not_read(self) -> JsonObject:
        """Return what was not read, and what the capture itself says that it lacks."""
        stats = self.capture.stats
        return {
            "dropped": stats.dropped_counts,
            "silent": stats.silent.to_list(),
            "notices": stats.all_notices,
            "assumed": stats.assumptions,
            "lost": {
                "messages": stats.lost.messages,
                "bytes": stats.lost.size,
                "packets": stats.lost.packets,
            },
            "losses": [loss_object(lost, time_ns) for lost, time_ns in stats.lost.listed],
            "counters": [
                {"section": section, **counters_object(found)}
                for (section, _), found in stats.lost.interfaces.items()
            ],
        }


def summarise(
    capture: Capture, *, decode: bool = True, timeline: Timeline | None = None
) -> Summary:
    """Read a capture to its end, or up to its damage, and return its summary.

    Args:
        capture: The capture.
        decode: Whether to decode payloads. Otherwise the errors are those of frames (checksums,
            unknown commands), and there are no response times.
        timeline: Counts messages over time, if given.
    """
    summary = Summary(capture, decode=decode, timeline=timeline)
    capture.on_session_ended = summary.session_ended
    try:
        for entry in capture:
            summary.add(entry)
    except CaptureError as error:
        if error.offset is None:
            raise
        summary.damage = error
    return summary


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _keep(kept: list[JsonObject], value: JsonObject) -> None:
    if len(kept) < MAX_LISTED:
        kept.append(value)


def _sum(amounts: Iterable[Amount]) -> Amount:
    result = Amount()
    for each in amounts:
        result.count += each.count
        result.bytes += each.bytes
        result.errors += each.errors
    return result


def _amount(amount: Amount) -> dict[str, int]:
    return {"count": amount.count, "bytes": amount.bytes, "errors": amount.errors}


def _junk(amount: Amount | None) -> dict[str, int]:
    amount = amount or Amount()
    return {"count": amount.count, "bytes": amount.bytes}


def _number(report: SessionReport) -> int:
    return report.number


def _deciders(trail: Sequence[str]) -> Iterable[str]:
    """Return who decided: an item of a trail is `WHO: WHAT`, or the first item is who."""
    named = dict.fromkeys(each.partition(": ")[0] for each in trail if ": " in each)
    return named or trail[:1]


def _gap(entry: Entry) -> JsonObject:
    return {**_where(entry), "missing": entry.missing, "what": entry.why}


def _error(entry: Entry, name: str, error: str) -> JsonObject:
    return {**_where(entry), "command": entry.command or name, "error": error}


def _where(entry: Entry) -> JsonObject:
    return {
        "number": entry.number,
        "time": iso_time(entry.time_ns),
        "session": entry.session,
        "direction": entry.direction.value,
    }
