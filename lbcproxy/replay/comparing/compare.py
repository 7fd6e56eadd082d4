"""Compares the content of two conversations. No I/O.

The messages of each direction and command are matched by content, in any order: a response may
come before or after an announcement. Unmatched messages of both sides are then paired, objects
with a hash by their hash, others in order. Memory is bounded: at most `MAX_UNMATCHED` unmatched
messages and `MAX_MEMORY` bytes are kept.

The number of pings does not matter, only whether each was answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, zip_longest
from typing import TypeAlias

from lbcproxy.deprecated import DeprecatedAttribute
from lbcproxy.replay.comparing.difference import (
    MAX_DIFFERENCES,
    ComparisonReport,
    Difference,
    MessageLocation,
)
from lbcproxy.replay.comparing.fields import ABSENT, FieldDifference, differing
from lbcproxy.replay.comparing.ignored_fields import TIMING_COMMANDS, IgnoredFields
from lbcproxy.replay.comparing.match_queue import LIVE, RECORDED, MatchQueue, UnmatchedMessage
from lbcproxy.replay.comparing.normalize import (
    LISTS,
    NAMED,
    ComparedMessage,
    digest_of,
    items_of,
    plain,
)
from lbcproxy.replay.comparing.pings import Pings
from lbcproxy.session import Direction
from lbcproxy.wire.hashes import display
from lbcproxy.wire.messages.inventory import type_name

__all__ = ["LIVE", "RECORDED", "Comparison"]

MAX_UNMATCHED = 100_000
MAX_MEMORY = 64 << 20
MAX_QUEUES = 500
"""Maximum number of queues; then those without a message are removed."""
MAX_FIELDS = 12
MAX_THINGS = 3
MAX_SUMMARY = 160

UnmatchedPair: TypeAlias = tuple[list[UnmatchedMessage] | None, list[UnmatchedMessage] | None]
"""What is paired of either side: a message, or objects of one."""


class Comparison:
    """Compares two sessions while their messages are added, each side in order.

    Args:
        ignored: The fields and commands that are not compared.
        session: The session's number in the first capture.
    """

    add = DeprecatedAttribute("add_difference")
    awaited = DeprecatedAttribute("count_awaited")
    take = DeprecatedAttribute("add_message")

    def __init__(self, ignored: IgnoredFields, session: int = 1) -> None:
        self._ignored = ignored
        self.session = session
        self._queues: dict[tuple[Direction, str], MatchQueue] = {}
        self._pings = Pings(), Pings()
        self._max_queues = MAX_QUEUES
        self._unmatched = self._memory = 0
        self._differences: list[Difference] = []
        self._count = 0
        self.taken = [0, 0]
        """Number of compared messages of each side."""
        self.matched = 0

    def add_message(self, side: int, said: ComparedMessage) -> None:
        """Add the next message of a side."""
        if self._ignored.is_whole(said.command):
            return
        content = said.content()
        position = self.taken[side]
        asked = self._pings[side].see(position, said, content)
        if asked or said.command in TIMING_COMMANDS:
            return
        self.taken[side] += 1
        queue = self._queues.setdefault((said.direction, said.command), MatchQueue())
        items = items_of(content)
        if items:
            for index, (kind, hash_) in enumerate(items):
                waiting = UnmatchedMessage(said, side, position, index, (kind, hash_))
                self._match(queue, kind.to_bytes(4, "little") + hash_, waiting)
        else:
            self._match(
                queue, digest_of(content, self._ignored), UnmatchedMessage(said, side, position)
            )
        if self._memory > MAX_MEMORY or self._unmatched > MAX_UNMATCHED:
            self._settle_older_half()
        if len(self._queues) > self._max_queues:
            self._queues = {key: each for key, each in self._queues.items() if any(each.counts)}
            self._max_queues = max(MAX_QUEUES, 2 * len(self._queues))

    def _match(self, queue: MatchQueue, digest: bytes, waiting: UnmatchedMessage) -> None:
        other = queue.match(digest, waiting)
        if other is None:
            self._unmatched += 1
            self._memory += waiting.memory
            return
        self._unmatched -= 1
        self._memory -= other.memory
        self.matched += 1
        if other.late:
            self._add_late(other, waiting)

    # Expected messages.

    def count_awaited(self, direction: Direction) -> int:
        """Return the number of recorded messages of a direction that are still expected.

        A message is not expected if another response, or `notfound`, came instead of it.
        """
        refused: set[bytes] | None = None
        count = 0
        for (way, command), queue in self._queues.items():
            if way is not direction or not queue.counts[RECORDED]:
                continue
            open_ = [each for each in queue.unmatched(RECORDED) if not each.late]
            if command in NAMED:
                if refused is None:
                    refused = self._refused(direction)
                if known := refused | {each.name for each in queue.unmatched(LIVE)}:
                    open_ = [each for each in open_ if each.name not in known]
            elif command in LISTS:
                others = {each.position for each in queue.unmatched(LIVE)}
                if len({each.position for each in open_}) <= len(others):
                    open_ = []
            else:
                del open_[: queue.counts[LIVE]]
            count += len(open_)
        recorded, live = self._pings
        pongs = recorded.answered(direction) - live.answered(direction)
        return count + max(0, min(pongs, live.open(direction)))

    def _refused(self, direction: Direction) -> set[bytes]:
        queue = self._queues.get((direction, "notfound"))
        return {each.thing[1] for each in queue.unmatched(LIVE) if each.thing} if queue else set()

    def give_up(self, direction: Direction) -> None:
        """Stop expecting messages of a direction; those that still arrive are late."""
        for (way, _), queue in self._queues.items():
            if way is direction:
                for each in queue.unmatched(RECORDED):
                    each.late = True
        self._pings[LIVE].give_up(direction)

    # The result.

    def add_difference(self, difference: Difference) -> None:
        """Add a difference that is not about a message."""
        self._record(difference)

    def finish(self) -> ComparisonReport:
        """Pair the remaining messages, and return the report."""
        self._settle(tuple(self.taken))
        self._settle_pings()
        differences = sorted(self._differences, key=lambda each: each.position)
        return ComparisonReport(
            differences=tuple(differences),
            count=self._count,
            matched=self.matched,
            recorded=self.taken[RECORDED],
            live=self.taken[LIVE],
        )

    def _settle_older_half(self) -> None:
        positions: list[int] = []
        for side in (RECORDED, LIVE):
            found = sorted(
                each.position for queue in self._queues.values() for each in queue.unmatched(side)
            )
            positions.append(found[len(found) // 2] + 1 if found else 0)
        self._settle((positions[0], positions[1]))

    def _settle(self, before: tuple[int, ...]) -> None:
        found: list[Difference] = []
        for (_, command), queue in sorted(self._queues.items()):
            one, other = (queue.remove_before(side, before[side]) for side in (RECORDED, LIVE))
            self._unmatched -= len(one) + len(other)
            self._memory -= sum(each.memory for each in (*one, *other))
            for pair in _pairs(command, one, other):
                if len(found) + self._count < MAX_DIFFERENCES:
                    found.append(self._difference(*pair))
                else:
                    self._count += 1
        for difference in sorted(found, key=lambda each: each.position):
            self._record(difference)

    def _difference(
        self, recorded: list[UnmatchedMessage] | None, live: list[UnmatchedMessage] | None
    ) -> Difference:
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
            position=first.position,
            session=self.session,
            direction=first.said.direction,
            command=first.said.command,
            recorded=_where(recorded),
            live=_where(live),
            fields=tuple(fields[:MAX_FIELDS]),
            words=f"{len(fields) - MAX_FIELDS:,} more fields" if len(fields) > MAX_FIELDS else "",
        )

    def _add_late(self, recorded: UnmatchedMessage, live: UnmatchedMessage) -> None:
        self._record(
            Difference(
                kind="late",
                position=recorded.position,
                session=self.session,
                direction=recorded.said.direction,
                command=recorded.said.command,
                recorded=_where([recorded]),
                live=_where([live]),
                words="it arrived after it was no longer expected",
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
                where = MessageLocation(
                    ping.number, ping.time_ns, f"ping {ping.summary()} was not answered"
                )
                self._record(
                    Difference(
                        kind=kind,
                        position=asked.position,
                        session=self.session,
                        direction=direction,
                        command="pong",
                        recorded=where if side is RECORDED else None,
                        live=where if side is LIVE else None,
                    )
                )

    def _record(self, difference: Difference) -> None:
        self._count += 1
        if len(self._differences) < MAX_DIFFERENCES:
            self._differences.append(difference)


def _pairs(
    command: str, one: list[UnmatchedMessage], other: list[UnmatchedMessage]
) -> Iterator[UnmatchedPair]:
    """Yield pairs of the unmatched messages of a command: objects by hash, others in order."""
    if command in LISTS:
        yield from zip_longest(_by_message(one), _by_message(other))
    elif command in NAMED:
        named: dict[bytes, list[UnmatchedMessage]] = {}
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


def _by_message(waiting: list[UnmatchedMessage]) -> list[list[UnmatchedMessage]]:
    """Return the objects grouped by message."""
    return [list(group) for _, group in groupby(waiting, key=lambda each: each.position)]


def _are_whole(waiting: list[UnmatchedMessage]) -> bool:
    """Return whether all objects of a message are unmatched."""
    items = items_of(waiting[0].said.content())
    return items is None or len(items) == len(waiting)


def _things(
    recorded: list[UnmatchedMessage], live: list[UnmatchedMessage]
) -> Iterator[FieldDifference]:
    """Yield the first objects that only one side has."""
    pairs = list(zip_longest(recorded, live))
    for one, other in pairs[:MAX_THINGS]:
        index = next(each.index for each in (one, other) if each is not None)
        yield FieldDifference(f"inventory[{index}]", _thing(one), _thing(other))
    if len(pairs) > MAX_THINGS:
        yield FieldDifference("inventory", more=len(pairs) - MAX_THINGS)


def _thing(waiting: UnmatchedMessage | None) -> str:
    if waiting is None or waiting.thing is None:
        return ABSENT
    kind, hash_ = waiting.thing
    return f"{type_name(kind)} {display(hash_)}"


def _where(waiting: list[UnmatchedMessage] | None) -> MessageLocation | None:
    if not waiting:
        return None
    said = waiting[0].said
    return MessageLocation(said.number, said.time_ns, said.summary()[:MAX_SUMMARY])
