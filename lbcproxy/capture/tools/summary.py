"""A capture in numbers: who, when, how much, and what is wrong.

Counted while the capture is read. What is listed one by one is bounded, so that memory does not
grow with the file; what goes over the bound is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lbcproxy.capture.packet import Statistics
from lbcproxy.capture.reader import Capture
from lbcproxy.capture.session_report import SessionReport
from lbcproxy.capture.tools.response_times import Answers
from lbcproxy.capture.tools.timeline import Timeline
from lbcproxy.errors import CaptureError
from lbcproxy.session import UNKNOWN_SIZE, Direction, Entry, Lost, NodeStatistics
from lbcproxy.session.command_counter import OTHERS
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.text import iso_time, printable

__all__ = ["OTHERS", "Amount", "Summary", "summarise"]

MOST_SESSIONS = 1_000
MOST_LISTED = 100
MOST_COMMANDS = 200
MOST_NAMES = 200
"""Hosts, user agents, deciders that are counted by name."""
JUNK = "(junk)"


class Amount(msgspec.Struct):
    """Messages of one command in one direction."""

    count: int = 0
    bytes: int = 0
    """Headers and payloads."""
    errors: int = 0


class Tally:
    """Counts by name: of more than 200 the rest together, as `(others)`."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str | int, ...]] = Counter()

    def add(self, *names: str | int) -> None:
        """Count one."""
        if names not in self._counts and len(self._counts) >= MOST_NAMES:
            names = (names[0], *(OTHERS for _ in names[1:]))
        self._counts[names] += 1

    def to_list(self, *keys: str) -> list[dict[str, Any]]:
        """Give an object for each, with the names under keys, and `count`; the most first."""
        ordered = sorted(self._counts.items(), key=lambda each: (-each[1], str(each[0])))
        return [{**dict(zip(keys, names, strict=True)), "count": n} for names, n in ordered]


class Summary:
    """What there is to say of a capture, so far."""

    def __init__(
        self, capture: Capture, *, decode: bool = True, timeline: Timeline | None = None
    ) -> None:
        self.capture = capture
        self.timeline = timeline
        self.damage: CaptureError | None = None
        """Where reading ended before the file did."""
        self.networks: set[str] = set()
        self.amounts: dict[tuple[str, Direction], Amount] = {}
        """By command; bytes that are no message under `(junk)`."""
        self.sessions: list[SessionReport] = []
        """The first that ended."""
        self.session_count = 0
        self.gaps: list[dict[str, Any]] = []
        """The first ones."""
        self.gap_count = self.missing = self.unsized_gaps = 0
        self.errors: list[dict[str, Any]] = []
        """The first messages with something wrong, and what; also bytes that are no message."""
        self.error_count = 0
        self.verdicts: Counter[str] = Counter()
        """Of messages that did not just pass."""
        self.deciders = Tally()
        """Of the same, by verdict and who decided."""
        self.peers = Tally()
        """Sessions by side and address."""
        self.agents = Tally()
        """Sessions by side, user agent and version."""
        self.answers = Answers() if decode else None
        """How long answers took; None if payloads are not decoded."""
        self._decode = decode

    def take(self, entry: Entry) -> None:
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
            error = None if entry.continued else entry.why  # as a live session counts it
        name = JUNK if message is None else printable(entry.command) or "(empty)"
        amount = self._amount(name, entry.direction)
        amount.count += not entry.continued
        amount.bytes += len(entry.raw)
        if self.timeline is not None and message is not None:
            self.timeline.add(name, entry.time_ns, len(entry.raw))
        if self.answers is not None and error is None:
            self.answers.take(entry)
        if error is not None:
            amount.errors += 1
            self.error_count += 1
            _keep(self.errors, _error(entry, name, error))

    def ended(self, report: SessionReport) -> None:
        """Take note of a session that is over."""
        self.session_count += 1
        self.networks.add(report.network)
        if self.answers is not None:
            self.answers.ended(report.number)
        node = report.upstream or str(report.server)
        for side, address, known in (
            ("client", report.client.host, report.to_upstream),  # the port tells nothing
            ("node", node, report.to_client),
        ):
            self.peers.add(side, address)
            if known.version is not None:
                self.agents.add(side, _text(known.user_agent or b""), known.version)
        if len(self.sessions) < MOST_SESSIONS:
            self.sessions.append(report)

    def total(self, direction: Direction) -> Amount:
        """Give the sum of all messages of a direction."""
        return _sum(
            amount
            for (command, way), amount in self.amounts.items()
            if way is direction and command != JUNK
        )

    def rates(self, seconds: float | None) -> dict[str, Any]:
        """Give messages and bytes a second, both null where no time has passed."""
        totals = [self.total(way) for way in Direction]
        if not seconds:
            return {"messages": None, "bytes": None}
        return {
            "messages": sum(each.count for each in totals) / seconds,
            "bytes": sum(each.bytes for each in totals) / seconds,
        }

    def _amount(self, command: str, direction: Direction) -> Amount:
        found = self.amounts.get((command, direction))
        if found is None:
            if len(self.amounts) >= MOST_COMMANDS:
                command = OTHERS
            found = self.amounts.setdefault((command, direction), Amount())
        return found

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as an object; the keys are public and stay."""
        met = self.capture.stats
        first, last = met.first_ns, met.last_ns
        seconds = None if first is None or last is None else (last - first) / 1e9
        return {
            "file": str(self.capture.path),
            "format": met.format,
            "size": _size(self.capture.path),
            "comments": met.comments,
            "networks": sorted(self.networks),
            "begin": None if first is None else iso_time(first),
            "end": None if last is None else iso_time(last),
            "seconds": seconds,
            "sections": met.sections,
            "packets": met.packets,
            "session_count": self.session_count,
            "sessions": [_session(each) for each in sorted(self.sessions, key=_number)],
            "messages": {way.value: _amount(self.total(way)) for way in Direction},
            "rates": self.rates(seconds),
            "commands": [
                {"command": command, "direction": way.value, **_amount(amount)}
                for (command, way), amount in sorted(self.amounts.items())
                if command != JUNK
            ],
            "junk": {way.value: _junk(self.amounts.get((JUNK, way))) for way in Direction},
            "gap_count": self.gap_count,
            "missing": self.missing,
            "gaps_of_unknown_size": self.unsized_gaps,
            "gaps": self.gaps,
            "error_count": self.error_count,
            "errors": self.errors,
            "verdicts": dict(sorted(self.verdicts.items())),
            "deciders": self.deciders.to_list("verdict", "who"),
            "peers": self.peers.to_list("side", "address"),
            "agents": self.agents.to_list("side", "user_agent", "version"),
            "answers": [] if self.answers is None else self.answers.to_list(),
            "dropped": met.dropped_counts,
            "silent": met.silent.to_list(),
            "notices": met.all_notices,
            "assumed": met.assumptions,
            "lost": {
                "messages": met.lost.messages,
                "bytes": met.lost.size,
                "packets": met.lost.packets,
            },
            "losses": [_loss(lost, time_ns) for lost, time_ns in met.lost.listed],
            "counters": [
                {"section": section, **_counters(found)}
                for (section, _), found in met.lost.interfaces.items()
            ],
            "damage": None if self.damage is None else _damage(self.damage),
        }


def summarise(
    capture: Capture, *, decode: bool = True, timeline: Timeline | None = None
) -> Summary:
    """Read a capture to its end, or to where it is damaged, and say what is in it.

    Without `decode` the errors are those that frames show (checksums, unknown commands), and there
    are no answer times. A `timeline` is filled if one is given.
    """
    summary = Summary(capture, decode=decode, timeline=timeline)
    capture.on_session_ended = summary.ended
    try:
        for entry in capture:
            summary.take(entry)
    except CaptureError as error:
        if error.offset is None:
            raise
        summary.damage = error
    return summary


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _keep(kept: list[dict[str, Any]], value: dict[str, Any]) -> None:
    if len(kept) < MOST_LISTED:
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


def _session(report: SessionReport) -> dict[str, Any]:
    return {
        "number": report.number,
        "network": report.network,
        "client": str(report.client),
        "server": str(report.server),
        "upstream": report.upstream,
        "begun": report.begun,
        "begin": iso_time(report.begun_ns),
        "end": iso_time(report.ended_ns),
        "seconds": (report.ended_ns - report.begun_ns) / 1e9,
        "how": report.how,
        "why": report.end.to_dict(),
        "missing": report.missing,
        "protocol_version": report.to_upstream.protocol_version,
        "to_upstream": _side(report.to_upstream),
        "to_client": _side(report.to_client),
    }


def _side(side: NodeStatistics) -> dict[str, Any]:
    return {
        "stage": side.stage.value,
        "user_agent": None if side.user_agent is None else _text(side.user_agent),
        "version": side.version,
        "services": side.services,
        "height": side.start_height,
        "messages": side.messages,
        "bytes": side.bytes,
        "junk": side.junk_bytes,
    }


def _text(user_agent: bytes) -> str:
    return user_agent.decode(errors="backslashreplace")


def _deciders(trail: Sequence[str]) -> Iterable[str]:
    """Name who decided: an item of a trail is `WHO: WHAT`, or the first alone is who."""
    named = dict.fromkeys(each.partition(": ")[0] for each in trail if ": " in each)
    return named or trail[:1]


def _gap(entry: Entry) -> dict[str, Any]:
    return {**_where(entry), "missing": entry.missing, "what": entry.why}


def _error(entry: Entry, name: str, error: str) -> dict[str, Any]:
    return {**_where(entry), "command": entry.command or name, "error": error}


def _where(entry: Entry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "time": iso_time(entry.time_ns),
        "session": entry.session,
        "direction": entry.direction.value,
    }


def _loss(lost: Lost, time_ns: int) -> dict[str, Any]:
    return {
        "time": iso_time(time_ns) if time_ns else None,
        "messages": lost.messages,
        "bytes": lost.size,
        "packets": lost.packets,
        "what": lost.description,
        "why": lost.why,
    }


def _counters(found: Statistics) -> dict[str, Any]:
    return {
        "interface": found.interface,
        "received": found.received,
        "dropped": found.dropped,
        "accepted": found.accepted,
        "dropped_by_system": found.dropped_by_system,
        "delivered": found.delivered,
    }


def _damage(error: CaptureError) -> dict[str, Any]:
    return {"what": error.what, "offset": error.offset}
