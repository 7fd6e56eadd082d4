"""How long answers took, and what was never answered.

A row of `PAIRS` says what asks and what answers it. Either node may be the one that asks. What
waits for an answer is bounded; what is let go for that is counted.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from enum import Enum
from typing import Any

import msgspec

from lbcproxy.session import Direction, Entry
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.wire.messages.inventory import InvType

__all__ = ["PAIRS", "Answers", "Pair", "Times"]

MOST_WAITING = 50_000
"""Requests that are waited for at a time; as many as one `getdata` may hold."""
PRECISION = 1.02
"""Times within two percent of one another are counted together."""
_LOG = math.log(PRECISION)

Names = tuple[Hashable, ...]
Things = Callable[[Any], Iterable[Names]]
"""What a record asks for, or what it gives: of each thing the names it may go by."""

OLDEST = object()
"""The name of what answers anything: it is for what has waited longest."""
MOST_NAMES = 40
"""Of a locator: it thins out so fast that no chain needs more."""

TXS = frozenset({InvType.TX, InvType.WTX, InvType.WITNESS_TX})
BLOCKS = frozenset(
    {
        *(InvType.BLOCK, InvType.WITNESS_BLOCK, InvType.CMPCT_BLOCK),
        *(InvType.FILTERED_BLOCK, InvType.FILTERED_WITNESS_BLOCK),
    }
)


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A request, and what answers it in the other direction."""

    name: str
    request: str
    wants: Things
    answers: Mapping[str, Things]
    """What the records of a command give."""
    refusals: Mapping[str, Things] = {}
    """What they say is not there."""


def _nonce(record: Any) -> Iterable[Names]:
    if record.nonce is not None:
        yield (record.nonce,)


def _listed(*kinds: InvType) -> Things:
    """Give each thing of an inventory, of some kinds or of any."""
    return lambda record: (
        (each.hash,) for each in record.inventory if not kinds or each.type in kinds
    )


def _block(record: Any) -> Iterable[Names]:
    yield (record.header.hash,)


def _tx(record: Any) -> Iterable[Names]:
    """Give both ids: the kind of the request says which of them it named."""
    yield (record.txid, record.wtxid)


def _behind(record: Any) -> Iterable[Names]:
    """Ask for what is behind a locator; without one, for the header that is named."""
    yield record.locator[:MOST_NAMES] or (record.hash_stop,)


def _headers(record: Any) -> Iterable[Names]:
    """Give headers behind a block; none at all are an answer to anything."""
    first = record.headers[0] if record.headers else None
    yield (OLDEST,) if first is None else (first.prev_block, first.hash)


_BLOCKS = _listed(
    *(InvType.BLOCK, InvType.WITNESS_BLOCK, InvType.CMPCT_BLOCK),
    *(InvType.FILTERED_BLOCK, InvType.FILTERED_WITNESS_BLOCK),
)
_TXS = _listed(InvType.TX, InvType.WTX, InvType.WITNESS_TX)

PAIRS = (
    Pair(name="ping-pong", request="ping", wants=_nonce, answers={"pong": _nonce}),
    Pair(
        name="getheaders-headers",
        request="getheaders",
        wants=_behind,
        answers={"headers": _headers},
    ),
    Pair(name="inv-getdata", request="inv", wants=_listed(), answers={"getdata": _listed()}),
    Pair(
        name="getdata-block",
        request="getdata",
        wants=_BLOCKS,
        answers={"block": _block, "merkleblock": _block, "cmpctblock": _block},
        refusals={"notfound": _BLOCKS},
    ),
    Pair(
        name="getdata-tx",
        request="getdata",
        wants=_TXS,
        answers={"tx": _tx},
        refusals={"notfound": _TXS},
    ),
)
"""To measure something more, add a row."""


class _Role(Enum):
    ASKS = 0
    ANSWERS = 1
    REFUSES = 2


def _roles() -> dict[str, list[tuple[_Role, str, Things]]]:
    """Turn the table around: what a command does, in which pairs."""
    roles: dict[str, list[tuple[_Role, str, Things]]] = {}
    for pair in PAIRS:
        for role, commands in (
            (_Role.ANSWERS, pair.answers),
            (_Role.REFUSES, pair.refusals),
            (_Role.ASKS, {pair.request: pair.wants}),
        ):
            for command, things in commands.items():
                roles.setdefault(command, []).append((role, pair.name, things))
    return roles


_ROLES = _roles()


class Times:
    """A number of times, in as much memory for a million as for ten."""

    def __init__(self) -> None:
        self.count = 0
        self.most = 0
        """The longest, in nanoseconds."""
        self._least = 0
        self._counts: Counter[int] = Counter()

    def add(self, time_ns: int) -> None:
        """Count a time; a clock that was set back gives 0."""
        time_ns = max(time_ns, 0)
        self._least = min(self._least, time_ns) if self.count else time_ns
        self.most = max(self.most, time_ns)
        self.count += 1
        self._counts[round(math.log(time_ns or 1) / _LOG)] += 1

    def quantile(self, part: float) -> float | None:
        """Return the seconds within which a part of them lies; None if there are no times.

        This is right to one percent, or to a nanosecond where that is more.
        """
        left = math.ceil(part * self.count)
        for exponent, count in sorted(self._counts.items()):
            left -= count
            if left <= 0:
                return min(max(PRECISION**exponent, self._least), self.most) / 1e9
        return None

    def curve(self) -> list[tuple[float, float]]:
        """Give seconds, and the part of all times that is no longer, from the shortest on."""
        found, result = 0, []
        for exponent, count in sorted(self._counts.items()):
            found += count
            result.append((PRECISION**exponent / 1e9, found / self.count))
        return result


class _Found(msgspec.Struct):
    """What came of the requests of a pair, in one direction."""

    requests: int = 0
    refused: int = 0
    let_go: int = 0
    times: Times = msgspec.field(default_factory=Times)


class _Asked:
    """One thing that was asked for and has not come yet."""

    __slots__ = ("found", "names", "time_ns", "waiting")

    def __init__(self, found: _Found, waiting: _Waiting, names: Names, time_ns: int) -> None:
        self.found = found
        self.waiting = waiting
        self.names = names
        self.time_ns = time_ns
        for name in names:
            waiting.setdefault(name, []).append(self)

    def remove(self) -> None:
        """Wait no longer, under any of its names."""
        for name in self.names:
            same = self.waiting[name]
            same.remove(self)
            if not same:
                del self.waiting[name]


_Waiting = dict[Hashable, list[_Asked]]
"""What waits by name, the oldest first."""


class Answers:
    """Counts, over entries in their order, what was asked and answered."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Direction], _Found] = {}
        self._sessions: dict[int, dict[tuple[str, Direction], _Waiting]] = {}
        self._order: OrderedDict[_Asked, None] = OrderedDict()
        self._size = 0

    def take(self, entry: Entry) -> None:
        """Take note of an entry: its payload is decoded if it asks or answers."""
        message = entry.message
        roles = None if message is None else _ROLES.get(message.command)
        if roles is None or message is None or message.error is not None:
            return
        record = message.record
        for role, pair, things in roles if record is not None else ():
            if role is _Role.ASKS:
                if (
                    entry.verdict != EntryVerdict.DROP
                ):  # it never arrived; an answer was given all the same
                    self._asked(pair, entry, things(record))
                continue
            waiting = self._sessions.get(entry.session, {}).get((pair, entry.direction.other))
            if waiting:  # for nobody no hashes are made
                self._given(waiting, things(record), entry.time_ns, role is _Role.REFUSES)

    def ended(self, session: int) -> None:
        """Wait no longer for answers in a session."""
        for waiting in self._sessions.pop(session, {}).values():
            for asked in {each for same in waiting.values() for each in same}:
                self._forget(asked)

    def times(self) -> dict[str, Times]:
        """Give the times of each pair that was met, by its name and who asked."""
        return {
            f"{name} {direction.arrow}": found.times
            for (name, direction), found in self._in_order()
            if found.times.count
        }

    def to_list(self) -> list[dict[str, Any]]:
        """Give what was found as objects, one a pair and direction; the keys are public and stay.

        Times are in seconds, and null where nothing was answered.
        """
        return [
            {
                "pair": name,
                "direction": direction.value,
                "requests": found.requests,
                "answered": found.times.count,
                "not_found": found.refused,
                "unanswered": found.requests - found.times.count - found.refused - found.let_go,
                "not_followed": found.let_go,
                "median": found.times.quantile(0.5),
                "p99": found.times.quantile(0.99),
                "longest": found.times.most / 1e9 if found.times.count else None,
            }
            for (name, direction), found in self._in_order()
        ]

    def _in_order(self) -> list[tuple[tuple[str, Direction], _Found]]:
        keys = ((pair.name, direction) for pair in PAIRS for direction in Direction)
        return [(key, self._found[key]) for key in keys if key in self._found]

    def _asked(self, pair: str, entry: Entry, things: Iterable[Names]) -> None:
        key = pair, entry.direction
        waiting = self._sessions.setdefault(entry.session, {}).setdefault(key, {})
        found = self._found.get(key)
        for names in things:
            if found is None:
                found = self._found[key] = _Found()
            found.requests += 1
            self._order[_Asked(found, waiting, names, entry.time_ns)] = None
            self._size += len(names)
        while self._size > MOST_WAITING:
            asked = next(iter(self._order))
            asked.found.let_go += 1
            asked.remove()
            self._forget(asked)

    def _given(
        self, waiting: _Waiting, things: Iterable[Names], time_ns: int, refused: bool
    ) -> None:
        for names in things:
            asked = _the_oldest(waiting, names)
            if asked is None:
                continue
            if refused:
                asked.found.refused += 1
            else:
                asked.found.times.add(time_ns - asked.time_ns)
            asked.remove()
            self._forget(asked)

    def _forget(self, asked: _Asked) -> None:
        del self._order[asked]
        self._size -= len(asked.names)


def _the_oldest(waiting: _Waiting, names: Names) -> _Asked | None:
    """Find what a thing answers, by any of its names."""
    for name in names:
        if name in waiting:
            return waiting[name][0]
        if name is OLDEST:
            return next((same[0] for same in waiting.values()), None)
    return None
