"""Holds what a reader tells of one line of a scene against what was true.

What is not asked for, and why, is in tests/capture/tcp_judge.py.
"""

from __future__ import annotations

import itertools
from collections import Counter
from enum import StrEnum

from lbcproxy.capture.packet import ACK, RST, SYN
from lbcproxy.capture.tcp.stream_events import Closed, Data, Gap
from tests.capture.tcp_facts import MOST_WAIT_NS, Facts
from tests.capture.tcp_found import Found, Verdict
from tests.capture.tcp_network import Line, Passed
from tests.capture.tcp_truth import Connection


class Exclusion(StrEnum):
    """Why a conversation is not judged, or not wholly."""

    MIXED = "a receiver took something of another connection"
    LATE_FIRST = "the capture begins with late segments of a connection that was over"
    STRAY = "this tap cannot tell a stray"
    UNPROVEN = "its side sent nothing new after a stray SYN or reset"
    ANY_LOSS = "SYNs may be lost: whatever is given was sent, and is given once"


class Judge:
    """Judges one line of a scene."""

    def __init__(self, line: Line, recorded: list[Passed], tap: str) -> None:
        self.line, self.tap = line, tap
        self.facts = {id(each): Facts(each, tap == "middle") for each in line.connections}
        self.expected: list[Facts] = []
        self.undecided: Exclusion | None = None
        self.late_data = tap == "middle"
        """Whether bytes may have come late that nobody knows the connection of."""
        self.late_syns = line.early_answers
        self.latest = 0
        """The last connection of which anything was recorded."""
        self.newest = 0
        """The last connection of which an answer was recorded."""
        self.sides = (0, 1)
        if tap.endswith("only"):
            self.sides = (0,) if tap == "client only" else (1,)
        self.places = {id(each): at for at, each in enumerate(recorded)}
        if tap == "middle" and recorded:
            unseen = itertools.takewhile(lambda each: each is not recorded[0], line.passed)
            self.latest = max((each.of.number for each in unseen if each.of), default=0)
        self._note(recorded)
        if tap == "disorder":
            self.expected.sort(key=lambda each: each.connection.number)
        for stray in line.strays:
            facts = self.facts[id(stray.of)]
            at = self.places.get(id(line.passed[stray.at]))
            if at is not None and facts.news[stray.side] <= at:
                facts.undecided = True
                self.late_syns += 1

    def _note(self, recorded: list[Passed]) -> None:
        for each in recorded:
            facts = self.facts.get(id(each.of))
            if facts is None:
                # A stray, or an answer to a late SYN.
                self.late_syns += each.of is not None and bool(each.segment.flags & SYN)
                self.late_syns += self._looks_refused(each)
                if self._may_be_believed(each):
                    self.undecided = Exclusion.STRAY
                continue
            opening = each.segment.flags & SYN
            if facts.connection.number < self.newest:
                facts.overtaken = True
                if self._is_new(facts, each):
                    self.late_data = True
                    self.late_syns += 1
            elif not opening or each.side == 1:
                self.newest = facts.connection.number
            late = facts.first_ns is not None and each.time_ns - facts.first_ns >= MOST_WAIT_NS
            if opening and facts not in self.expected and facts.connection.number < self.latest:
                self._note_overtaking(facts.connection.number)
            if opening and (facts.syn[each.side] or facts.reset or facts.overtaken or late):
                self.late_syns += 1
                self.late_data = self.late_data or late
            # What a capture has of a connection that ended before it began is late.
            before = self.tap == "middle" and facts.connection.number < self.latest
            if before and not self.expected:
                self.undecided = Exclusion.LATE_FIRST
            if before and facts not in self.expected:
                self.late_syns += 1
                continue
            if facts not in self.expected and (opening or each.segment.payload):
                facts.opposed = bool(self.expected)
                self.expected.append(facts)
            self.latest = max(self.latest, facts.connection.number)
            facts.take(self.places[id(each)], each)

    def _note_overtaking(self, number: int) -> None:
        """Note that SYNs were recorded before that of an earlier connection."""
        for facts in self.expected:
            if facts.connection.number > number:
                facts.opposed = facts.early = True
                self.late_syns += 1

    def _looks_refused(self, each: Passed) -> bool:
        """Whether a stray reset was recorded between a SYN and its answer, which came before."""
        if not each.segment.flags & RST or not each.segment.flags & ACK or each.side == 0:
            return False
        return any(
            facts.syn[0]
            and not facts.syn[1]
            and facts.connection.place_of(0, each.segment.acknowledgment) == 0
            for facts in self.expected
        )

    @staticmethod
    def _is_new(facts: Facts, each: Passed) -> bool:
        """Whether a segment has bytes that this tap has not recorded before."""
        if not each.segment.payload:
            return False
        place = facts.connection.place_of(each.side, each.segment.sequence)
        return place + len(each.segment.payload) > facts.highest[each.side]

    def _may_be_believed(self, each: Passed) -> bool:
        """Whether a stray may be taken for a true segment by this tap."""
        if each.of is not None or each.segment.sequence == 0:
            return False
        is_other_value = bool(each.segment.payload) and not any(each.segment.payload)
        if self.tap == "lossy":
            return is_other_value
        if self.tap == "disorder":
            return is_other_value or bool(each.segment.flags & SYN)
        return self.tap in ("pauses", "middle") or len(self.sides) == 1

    @property
    def excluded(self) -> Counter[str]:
        """How many connections are not judged, by reason."""
        connections = self.line.connections
        if any(each.mixed for each in connections):
            return Counter({Exclusion.MIXED: len(connections)})
        if self.undecided is not None:
            return Counter({self.undecided: len(connections)})
        return Counter({Exclusion.UNPROVEN: sum(each.undecided for each in self.facts.values())})

    def judge(self, found: list[Found]) -> None:
        """Raise Verdict unless the connections found are those that were."""
        if self.excluded.total() and Exclusion.UNPROVEN not in self.excluded:
            return
        why = self._match(found, 0, 0, 0)
        if why is not None:
            raise Verdict(why)

    def _match(self, found: list[Found], at: int, place: int, extra: int) -> str | None:
        """Match connections found with those expected, in order; return why it cannot be done."""
        if at == len(self.expected):
            rest = found[place:]
            if extra + len(rest) <= self.late_syns and all(map(self._may_be_left, rest)):
                return None
            return f"{len(rest)} connections too many: {rest}"
        facts = self.expected[at]
        whys = []
        if place < len(found):
            why = self._differs(facts, found[place])
            if why is None:
                why = self._match(found, at + 1, place + 1, extra)
            if why is None:
                return None
            whys.append(why)
            spare = extra < self.late_syns and self._may_be_left(found[place])
            if spare and self._match(found, at, place + 1, extra + 1) is None:
                return None
        if self._optional(facts) and self._match(found, at + 1, place, extra) is None:
            return None
        return whys[0] if whys else f"connection {facts.connection.number} is not told"

    def _may_be_left(self, found: Found) -> bool:
        """Whether a connection may be told that there was not: an empty one.

        Late bytes that were not recorded before may be one, too.
        """
        sent = [stream for each in self.line.connections for stream in each.sent]
        return all(
            self.late_data and any(event.data in stream for stream in sent)
            for event in found.events
            if isinstance(event, Data)
        )

    def _optional(self, facts: Facts) -> bool:
        """Whether a connection may be left out."""
        if any(facts.any_bytes[side] for side in self.sides):
            return False
        if self.tap == "middle" and not facts.syn[0]:
            return True
        # Of one direction, a SYN after which nothing comes may be a stray.
        one_way = len(self.sides) == 1 and not any(facts.fin)
        return facts.opposed and (one_way or not facts.connection.established)

    def _differs(self, facts: Facts, found: Found) -> str | None:
        number = facts.connection.number
        if (found.opened.client, found.opened.server) != self.line.ends_at:
            return f"connection {number}: client and server are exchanged"
        if facts.syn[0] and not found.opened.begun:
            return f"connection {number}: its beginning is not told"
        for side in self.sides:
            why = self._stream_differs(facts, side, found)
            if why is not None:
                return f"connection {number}, {('client', 'server')[side]}'s bytes: {why}"
        if facts.undecided or self.tap == "middle":
            return None
        why = self._ends_differ(facts, found)
        return None if why is None else f"connection {number}: {why}"

    def _stream_differs(self, facts: Facts, side: int, found: Found) -> str | None:
        events = [
            each
            for each in found.events
            if isinstance(each, Data | Gap) and each.from_client is (side == 0)
        ]
        # A SYN-ACK tells where both sides begin.
        starts = {0} if any(facts.syn) or facts.late_syn else set()
        if not facts.syn[side]:
            starts |= facts.starts[side] or {0}
        whys = [self._read_from(start, facts, side, events) for start in sorted(starts)]
        return None if None in whys else whys[0]

    def _read_from(
        self, start: int, facts: Facts, side: int, events: list[Data | Gap]
    ) -> str | None:
        """Compare what is given with what was sent, if it begins at a place in the stream."""
        connection = facts.connection
        sent, got = connection.sent[side], connection.got[side]
        place = start
        covered = bytearray(len(sent))
        for each in events:
            if isinstance(each, Gap):
                if each.missing <= 0:
                    return f"no size is told at {place}"
                place += each.missing
                continue
            end = place + len(each.data)
            if sent[place:end] != each.data:
                return f"invented or misplaced at {place}: {each}"
            covered[place:end] = b"\1" * len(each.data)
            place = end
        if facts.undecided:
            return None
        wanted = facts.seen[side][:got]
        if not facts.syn[side]:
            first = wanted.find(1)
            if start > first >= 0 and not self.has_late():
                return f"begins at {start}, not at {first}"
            wanted[:start] = bytes(start)
        missing = int.from_bytes(wanted) & ~int.from_bytes(covered[: len(wanted)])
        if missing:
            at = len(wanted) - (missing.bit_length() + 7) // 8
            return f"byte {at} of {got} is not given; {covered.count(1)} are"
        # A FIN that was not recorded, or too late, has a number as well.
        is_fin_seen = facts.fin[side] and not facts.overtaken and self.tap != "middle"
        unseen = connection.closed[side] and not is_fin_seen
        got += unseen
        if not self._is_abnormal(connection) and place > got:
            return f"goes to {place}, but the receiver got {got}"
        if place > len(sent) + unseen:
            return f"goes to {place}, but {len(sent)} were sent"
        return None

    def has_late(self) -> bool:
        """Whether segments come long after those that follow them."""
        return bool(self.line.scene.features & {"late", "loss", "disorder", "repeat"})

    @staticmethod
    def _is_abnormal(connection: Connection) -> bool:
        return connection.broken or bool(connection.resets)

    def _ends_differ(self, facts: Facts, found: Found) -> str | None:
        connection = facts.connection
        closed = [each for each in found.events if isinstance(each, Closed)]
        told = [(0 if each.from_client else 1, each.reset) for each in closed]
        if len(set(told)) != len(told):
            return f"an end is told twice: {told}"
        resets = {side for side, reset in told if reset}
        for side in self.sides:
            finished = (side, False) in told
            wanted = connection.finished[side] and facts.fin[side]
            if wanted and not (finished or facts.reset or self._displaced(facts)):
                return f"FIN of side {side} is not told: {told}"
            if finished and not facts.fin[side]:
                return f"FIN of side {side} is told, and none was sent"
        if len(resets) > 1:
            return f"more than one reset is told: {told}"
        return self._resets_differ(facts, resets)

    def _resets_differ(self, facts: Facts, told: set[int]) -> str | None:
        connection = facts.connection
        # Of one direction, who sends on after an RST may not have sent it.
        seen = connection.resets if len(self.sides) == 2 else set()
        if told:
            known = facts.reset_by | connection.resets
            if told <= known or self._displaced(facts) or (known and len(self.sides) == 1):
                return None
            return f"a reset by {told} is told, and there was none ({connection.resets})"
        if all(facts.fin):
            return None
        if seen:
            return f"the reset by {seen} is not told"
        if connection.broken and connection.established and self._surely_displaced(connection):
            return "it was displaced, and that is not told"
        return None

    def _surely_displaced(self, connection: Connection) -> bool:
        """Whether the next connection was established under the eyes of the tap."""
        following = self.line.connections[connection.number : connection.number + 1]
        return len(self.sides) == 2 and any(self.facts[id(each)].syn[1] for each in following)

    def _displaced(self, facts: Facts) -> bool:
        """Whether another connection came while this one was open, as far as the tap saw."""
        if facts.early:
            return True
        if facts.connection.number == len(self.line.connections):
            return False
        return facts.connection.broken or facts.overtaken or len(self.sides) == 1
