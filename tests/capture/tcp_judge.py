"""Holds what the reader of connections tells against what truly happened in a scene.

What no tap can know is left out, and nothing else:

- Bytes that passed the tap and never arrived, since a host had vanished or reset the connection:
  they may be given. (Both a receiver that took them and one that did not look the same, for the
  acknowledgment may be lost as well.)
- Bytes that passed only after an RST of a true end: whether the RST overtook them on the rest of
  the way is not to be seen. They may be given.
- A FIN or an RST that passed and never arrived may be told.
- What a tap with several queues records after a segment that only who was answered can send, on
  the next connection, may be left out, and such a connection counts as reset if its end is among
  that: the same packets in order are a connection that was given up for the next.
- A SYN that reached nobody, or a late repetition of one, may count as a connection without bytes
  if something else was open between the addresses: it may be a stray.
- A stray SYN, or an RST in the window, after which its side sends nothing new may be obeyed.
- With a tap that loses packets, bytes that it saw for the first time after it saw them
  acknowledged, since they had been given up by then.
- Where a capture begins in the middle, or is of one direction, windows or their scales are not
  known: strays may be believed. So may late repetitions of what was over before the capture. A SYN
  that a capture from the middle has after other segments of its connection is late or out of
  order, and one or the other of the two beginnings is right.
- A tap that disorders or loses packets may have bytes that repeat others with other values and not
  those before, a stray SYN before the true one, or nothing of what shows that a segment is a stray.
- A connection that was over is told again if its SYN comes again long after, and its bytes: a host
  may begin with the same number again. So is one whose first SYN was lost.
- Bytes of a connection that was over, which a tap sees for the first time in a later one, may be
  told as a connection of their own.
- Of SYNs that overtook each other nobody knows which attempt was the later one.
- If a receiver took something of another connection (its number was in the window by chance),
  nothing is told of the whole line.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable

from lbcproxy.capture.packet import SYN, Packet, Segment
from lbcproxy.capture.tcp.lookahead import Lookahead
from lbcproxy.capture.tcp.reassembler import Reassembler
from lbcproxy.capture.tcp.stream_events import Closed, Data, Gap, Opened, StreamEvent
from tests.capture.tcp_facts import MOST_WAIT_NS, Facts
from tests.capture.tcp_found import Found, Verdict, orderly, truthful
from tests.capture.tcp_network import SERVER_PORT, Line, Passed, Scene, played, together
from tests.capture.tcp_tap import record
from tests.capture.tcp_truth import Connection


def read(captured: Iterable[tuple[int, Segment]]) -> tuple[list[StreamEvent], Counter[str]]:
    """Return the events that the reader makes of segments, and the counts of what it left out."""
    reassembler = Reassembler(server_ports=frozenset({SERVER_PORT}))
    lookahead = Lookahead(reassembler.knows)
    events: list[StreamEvent] = []
    for time_ns, segment in captured:
        for packet, each in lookahead.feed(Packet(time_ns, 101, b"", 0), segment):
            events += reassembler.feed(packet.time_ns, each)
    for packet, each in lookahead.finish():
        events += reassembler.feed(packet.time_ns, each)
    events += reassembler.finish()
    dropped = getattr(reassembler, "dropped", None)
    counts: Counter[str] = Counter()
    for each in dropped.to_list() if dropped else ():
        counts[each["reason"]] += each["packets"]
    return events, counts


class Judge:
    """Judges one line of a scene."""

    def __init__(self, line: Line, recorded: list[Passed], tap: str) -> None:
        self.line, self.tap = line, tap
        self.facts = {id(each): Facts(each) for each in line.connections}
        self.expected: list[Facts] = []
        self.undecided = False
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
        self.places = {id(each): at for at, each in enumerate(line.passed)}
        if tap == "middle" and recorded:
            unseen = line.passed[: self.places[id(recorded[0])]]
            self.latest = max((each.of.number for each in unseen if each.of), default=0)
        self._note(recorded)
        if tap == "disorder":
            self.expected.sort(key=lambda each: each.connection.number)
        for stray in line.strays:
            facts = self.facts[id(stray.of)]
            if facts.news[stray.side] <= stray.at:
                facts.undecided = True
                self.late_syns += 1

    def _note(self, recorded: list[Passed]) -> None:
        for each in recorded:
            facts = self.facts.get(id(each.of))
            if facts is None:
                # A stray, or an answer to a late SYN.
                self.late_syns += each.of is not None and bool(each.segment.flags & SYN)
                self.undecided = self.undecided or self._may_be_believed(each)
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
                self.undecided = True  # SYNs overtook each other
            if opening and (facts.syn[each.side] or facts.reset or facts.overtaken or late):
                self.late_syns += 1
                self.late_data = self.late_data or late
            if opening and self.tap == "middle" and facts in self.expected and not any(facts.syn):
                self.undecided = True  # out of order, or late
            # What a capture has of a connection that ended before it began is late.
            before = self.tap == "middle" and facts.connection.number < self.latest
            if before and not self.expected:
                self.undecided = True  # and taken for the beginning
            if before and facts not in self.expected:
                self.late_syns += 1
                continue
            if facts not in self.expected and (opening or each.segment.payload):
                facts.opposed = bool(self.expected)
                self.expected.append(facts)
            self.latest = max(self.latest, facts.connection.number)
            facts.take(self.places[id(each)], each)

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

    def judge(self, found: list[Found]) -> None:
        """Raise Verdict unless the connections found are those that were."""
        if self.undecided or any(each.mixed for each in self.line.connections):
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
        if facts.connection.number == len(self.line.connections):
            return False
        return facts.connection.broken or facts.overtaken or len(self.sides) == 1


def judge(scene: Scene, tap: str = "perfect") -> tuple[int, int]:
    """Play a scene and judge the reader; return how many connections and packets it had.

    Raises Verdict.
    """
    lines = played(scene)
    passed = together(lines)
    recorded = record(passed, tap, random.Random(f"tap {scene.seed}")) if passed else []
    if recorded:
        _judge(lines, recorded, tap)
    return sum(len(line.connections) for line in lines), len(recorded)


def _judge(lines: list[Line], recorded: list[Passed], tap: str) -> None:
    events, _dropped = read((each.time_ns, each.segment) for each in recorded)
    by_number: dict[int, Found] = {}
    for event in events:
        if isinstance(event, Opened):
            if event.connection in by_number:
                raise Verdict(f"opened twice: {event}")
            by_number[event.connection] = Found(event, [])
        else:
            by_number[event.connection].events.append(event)
    orderly(by_number)
    own: dict[str, list[Passed]] = defaultdict(list)
    for each in recorded:
        own[each.segment.source.host if each.side == 0 else each.segment.target.host].append(each)
    for line in lines:
        host = line.ends_at[0].host
        found = [
            each
            for each in by_number.values()
            if host in (each.opened.client.host, each.opened.server.host)
        ]
        if tap == "any loss":
            truthful(line, own[host], found)
        else:
            Judge(line, own[host], tap).judge(found)
