"""Two conversations compared by what is said in them. No I/O.

The messages of each direction and command are matched by meaning, in whatever order they came: an
answer may stand before or behind an announcement. What is left of both sides is then put side by
side: things with a hash by their hash, all else in order. Memory is bounded: a message is looked
for among the last `MOST_WAITING` without a like, and those of `MOST_HELD` bytes.

Signs of life are no matter of number: what counts is whether each ping was answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, zip_longest
from typing import TypeAlias

from lbcproxy.replay.comparing.difference import MOST_DIFFERENCES, Difference, Report, Where
from lbcproxy.replay.comparing.fields import ABSENT, FieldDifference, differing
from lbcproxy.replay.comparing.ignored_fields import CHANCE, Ignored
from lbcproxy.replay.comparing.match_queue import LIVE, RECORDED, Lane, Waiting
from lbcproxy.replay.comparing.normalize import LISTS, NAMED, Said, items_of, meaning_of, plain
from lbcproxy.replay.comparing.pings import Pings
from lbcproxy.session import Direction
from lbcproxy.wire.hashes import display
from lbcproxy.wire.messages.inventory import type_name

__all__ = ["LIVE", "RECORDED", "Comparison"]

MOST_WAITING = 100_000
MOST_HELD = 64 << 20
MOST_LANES = 500
"""Commands that are kept apart before those without a message are forgotten."""
MOST_FIELDS = 12
MOST_THINGS = 3
MOST_SUMMARY = 160

Pair: TypeAlias = tuple[list[Waiting] | None, list[Waiting] | None]
"""What of either side stands side by side: a message, or things of one."""


class Comparison:
    """Compares one session with another while messages of both are handed in, each side in order.

    `session` is its number in the first capture.
    """

    def __init__(self, ignored: Ignored, session: int = 1) -> None:
        self._ignored = ignored
        self.session = session
        self._lanes: dict[tuple[Direction, str], Lane] = {}
        self._pings = Pings(), Pings()
        self._most_lanes = MOST_LANES
        self._waits = self._held = 0
        self._differences: list[Difference] = []
        self._count = 0
        self.taken = [0, 0]
        """Messages of each side that were compared."""
        self.matched = 0

    def take(self, side: int, said: Said) -> None:
        """Take the next message of a side."""
        if self._ignored.is_whole(said.command):
            return
        content = said.content()
        place = self.taken[side]
        asked = self._pings[side].see(place, said, content)
        if asked or said.command in CHANCE:
            return
        self.taken[side] += 1
        lane = self._lanes.setdefault((said.direction, said.command), Lane())
        items = items_of(content)
        if items:
            for index, (kind, hash_) in enumerate(items):
                waiting = Waiting(said, side, place, index, (kind, hash_))
                self._meet(lane, kind.to_bytes(4, "little") + hash_, waiting)
        else:
            self._meet(lane, meaning_of(content, self._ignored), Waiting(said, side, place))
        if self._held > MOST_HELD or self._waits > MOST_WAITING:
            self._settle_older_half()
        if len(self._lanes) > self._most_lanes:
            self._lanes = {key: each for key, each in self._lanes.items() if any(each.counts)}
            self._most_lanes = max(MOST_LANES, 2 * len(self._lanes))

    def _meet(self, lane: Lane, meaning: bytes, waiting: Waiting) -> None:
        other = lane.meet(meaning, waiting)
        if other is None:
            self._waits += 1
            self._held += waiting.held
            return
        self._waits -= 1
        self._held -= other.held
        self.matched += 1
        if other.late:
            self._add_late(other, waiting)

    # What a replay waits for.

    def awaited(self, direction: Direction) -> int:
        """Return how much that was recorded in a direction is still to come.

        What something else has come for is not: another answer, or `notfound`.
        """
        refused: set[bytes] | None = None
        count = 0
        for (way, command), lane in self._lanes.items():
            if way is not direction or not lane.counts[RECORDED]:
                continue
            open_ = [each for each in lane.waiting(RECORDED) if not each.late]
            if command in NAMED:
                if refused is None:
                    refused = self._refused(direction)
                if known := refused | {each.name for each in lane.waiting(LIVE)}:
                    open_ = [each for each in open_ if each.name not in known]
            elif command in LISTS:
                others = {each.place for each in lane.waiting(LIVE)}
                if len({each.place for each in open_}) <= len(others):
                    open_ = []
            else:
                del open_[: lane.counts[LIVE]]
            count += len(open_)
        recorded, live = self._pings
        pongs = recorded.answered(direction) - live.answered(direction)
        return count + max(0, min(pongs, live.open(direction)))

    def _refused(self, direction: Direction) -> set[bytes]:
        lane = self._lanes.get((direction, "notfound"))
        return {each.thing[1] for each in lane.waiting(LIVE) if each.thing} if lane else set()

    def give_up(self, direction: Direction) -> None:
        """Wait no longer for what has not come: if it still does, it is late."""
        for (way, _), lane in self._lanes.items():
            if way is direction:
                for each in lane.waiting(RECORDED):
                    each.late = True
        self._pings[LIVE].give_up(direction)

    # What came of it.

    def add(self, difference: Difference) -> None:
        """Take note of a difference that is none of messages."""
        self._note(difference)

    def finish(self) -> Report:
        """Settle what is left, and give the report."""
        self._settle(tuple(self.taken))
        self._settle_pings()
        differences = sorted(self._differences, key=lambda each: each.place)
        return Report(
            differences=tuple(differences),
            count=self._count,
            matched=self.matched,
            recorded=self.taken[RECORDED],
            live=self.taken[LIVE],
        )

    def _settle_older_half(self) -> None:
        places: list[int] = []
        for side in (RECORDED, LIVE):
            found = sorted(
                each.place for lane in self._lanes.values() for each in lane.waiting(side)
            )
            places.append(found[len(found) // 2] + 1 if found else 0)
        self._settle((places[0], places[1]))

    def _settle(self, before: tuple[int, ...]) -> None:
        found: list[Difference] = []
        for (_, command), lane in sorted(self._lanes.items()):
            one, other = (lane.take_out(side, before[side]) for side in (RECORDED, LIVE))
            self._waits -= len(one) + len(other)
            self._held -= sum(each.held for each in (*one, *other))
            for pair in _pairs(command, one, other):
                if len(found) + self._count < MOST_DIFFERENCES:
                    found.append(self._difference(*pair))
                else:
                    self._count += 1
        for difference in sorted(found, key=lambda each: each.place):
            self._note(difference)

    def _difference(self, recorded: list[Waiting] | None, live: list[Waiting] | None) -> Difference:
        [first, *_] = recorded or live or []
        kind = "different" if recorded and live else "missing" if recorded else "extra"
        fields: list[FieldDifference] = []
        if recorded and live and _are_whole(recorded) and _are_whole(live):
            one, other = (each[0].said.content() for each in (recorded, live))
            fields = list(differing(plain(one, self._ignored), plain(other, self._ignored)))
        elif first.index is not None:
            fields = list(_things(recorded or [], live or []))
        return Difference(
            kind=kind,
            place=first.place,
            session=self.session,
            direction=first.said.direction,
            command=first.said.command,
            recorded=_where(recorded),
            live=_where(live),
            fields=tuple(fields[:MOST_FIELDS]),
            words=f"{len(fields) - MOST_FIELDS:,} more fields" if len(fields) > MOST_FIELDS else "",
        )

    def _add_late(self, recorded: Waiting, live: Waiting) -> None:
        self._note(
            Difference(
                kind="late",
                place=recorded.place,
                session=self.session,
                direction=recorded.said.direction,
                command=recorded.said.command,
                recorded=_where([recorded]),
                live=_where([live]),
                words="it came when it was no longer waited for",
            )
        )

    def _settle_pings(self) -> None:
        for direction in Direction:
            sides = [each.unanswered(direction) for each in self._pings]
            for side, kind in ((LIVE, "missing"), (RECORDED, "extra")):
                if len(sides[side]) <= len(sides[1 - side]):
                    continue
                if not self._pings[1 - side].answered(direction):
                    continue
                asked = sides[side][0]
                ping = asked.said
                where = Where(ping.number, ping.time_ns, f"ping {ping.summary()} was not answered")
                self._note(
                    Difference(
                        kind=kind,
                        place=asked.place,
                        session=self.session,
                        direction=direction,
                        command="pong",
                        recorded=where if side is RECORDED else None,
                        live=where if side is LIVE else None,
                    )
                )

    def _note(self, difference: Difference) -> None:
        self._count += 1
        if len(self._differences) < MOST_DIFFERENCES:
            self._differences.append(difference)


def _pairs(command: str, one: list[Waiting], other: list[Waiting]) -> Iterator[Pair]:
    """Put side by side what is left of a command: things by name, all else in order."""
    if command in LISTS:
        yield from zip_longest(_by_message(one), _by_message(other))
    elif command in NAMED:
        named: dict[bytes, list[Waiting]] = {}
        for each in other:
            named.setdefault(each.name, []).append(each)
        for each in one:
            same = named.get(each.name)
            yield [each], [same.pop(0)] if same else None
        for left in named.values():
            yield from ((None, [each]) for each in left)
    else:
        for a, b in zip_longest(one, other):
            yield [a] if a else None, [b] if b else None


def _by_message(waiting: list[Waiting]) -> list[list[Waiting]]:
    """Put the things of one message together."""
    return [list(group) for _, group in groupby(waiting, key=lambda each: each.place)]


def _are_whole(waiting: list[Waiting]) -> bool:
    """Whether all things of a message are left, and not some."""
    items = items_of(waiting[0].said.content())
    return items is None or len(items) == len(waiting)


def _things(recorded: list[Waiting], live: list[Waiting]) -> Iterator[FieldDifference]:
    """Name the first things that one side alone has."""
    pairs = list(zip_longest(recorded, live))
    for one, other in pairs[:MOST_THINGS]:
        index = next(each.index for each in (one, other) if each is not None)
        yield FieldDifference(f"inventory[{index}]", _thing(one), _thing(other))
    if len(pairs) > MOST_THINGS:
        yield FieldDifference("inventory", more=len(pairs) - MOST_THINGS)


def _thing(waiting: Waiting | None) -> str:
    if waiting is None or waiting.thing is None:
        return ABSENT
    kind, hash_ = waiting.thing
    return f"{type_name(kind)} {display(hash_)}"


def _where(waiting: list[Waiting] | None) -> Where | None:
    if not waiting:
        return None
    said = waiting[0].said
    return Where(said.number, said.time_ns, said.summary()[:MOST_SUMMARY])
