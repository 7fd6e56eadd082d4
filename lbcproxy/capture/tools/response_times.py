"""Response times: how long answers took, and what was never answered.

Each row of `PAIRS` names a request and what answers it. Either node may send the request. The
number of pending requests is bounded; those that are given up for that reason are counted.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from enum import Enum
from typing import Any, TypedDict

import msgspec

from lbcproxy.session import Direction, Entry
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.wire.messages.blocks import Block, MerkleBlock
from lbcproxy.wire.messages.compact_blocks import CmpctBlock
from lbcproxy.wire.messages.headers import GetHeaders, Headers
from lbcproxy.wire.messages.inventory import GetData, Inv, InvType, NotFound
from lbcproxy.wire.messages.keepalive import Ping, Pong
from lbcproxy.wire.messages.transactions import Tx

__all__ = ["PAIRS", "DurationHistogram", "Pair", "PairStatistics", "ResponseTimes"]

MAX_PENDING = 50_000
"""Requests that may be pending at a time; one `getdata` may hold as many."""
PRECISION = 1.02
"""Durations within two percent of each other are counted together."""
_LOG = math.log(PRECISION)

Names = tuple[Hashable, ...]
Objects = Callable[[Any], Iterable[Names]]
"""Returns the objects that a record requests or delivers, each as the names it may have.

A function accepts only records of its own command.
"""

OLDEST = object()
"""The name of an answer to any request: it answers the one that has been pending longest."""
MAX_LOCATOR_HASHES = 40
"""A locator thins out so fast that no chain needs more."""

TXS = frozenset({InvType.TX, InvType.WTX, InvType.WITNESS_TX})
BLOCKS = frozenset(
    {
        *(InvType.BLOCK, InvType.WITNESS_BLOCK, InvType.CMPCT_BLOCK),
        *(InvType.FILTERED_BLOCK, InvType.FILTERED_WITNESS_BLOCK),
    }
)


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A request, and what answers it in the opposite direction."""

    name: str
    request: str
    """The command that requests objects."""
    wants: Objects
    answers: Mapping[str, Objects]
    """The commands that deliver objects."""
    refusals: Mapping[str, Objects] = {}
    """The commands that say that objects do not exist."""


def _nonce(record: Ping | Pong) -> Iterable[Names]:
    if record.nonce is not None:
        yield (record.nonce,)


def _listed(*types: InvType) -> Objects:
    """Return a function for the entries of an inventory that have one of these types, or any."""

    def listed(record: Inv | GetData | NotFound) -> Iterable[Names]:
        return ((each.hash,) for each in record.inventory if not types or each.type in types)

    return listed


def _block(record: Block | MerkleBlock | CmpctBlock) -> Iterable[Names]:
    yield (record.header.hash,)


def _tx(record: Tx) -> Iterable[Names]:
    """Return both ids: a request may use either."""
    yield (record.txid, record.wtxid)


def _after_locator(record: GetHeaders) -> Iterable[Names]:
    """Return what comes after a locator; without a locator, the header that is named."""
    yield record.locator[:MAX_LOCATOR_HASHES] or (record.hash_stop,)


def _headers(record: Headers) -> Iterable[Names]:
    """Return headers by the block before them; an empty list answers any request."""
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
        wants=_after_locator,
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


def _roles() -> dict[str, list[tuple[_Role, str, Objects]]]:
    """Return, for each command, its roles in the pairs of the table."""
    roles: dict[str, list[tuple[_Role, str, Objects]]] = {}
    for pair in PAIRS:
        for role, commands in (
            (_Role.ANSWERS, pair.answers),
            (_Role.REFUSES, pair.refusals),
            (_Role.ASKS, {pair.request: pair.wants}),
        ):
            for command, objects in commands.items():
                roles.setdefault(command, []).append((role, pair.name, objects))
    return roles


_ROLES = _roles()


class DurationHistogram:
    """A histogram of durations; its memory does not grow with their number."""

    def __init__(self) -> None:
        self.count = 0
        self.longest_ns = 0
        self._shortest_ns = 0
        self._counts: Counter[int] = Counter()

    def add(self, time_ns: int) -> None:
        """Count a duration in nanoseconds; a negative one, from a clock that was set back, as 0."""
        time_ns = max(time_ns, 0)
        self._shortest_ns = min(self._shortest_ns, time_ns) if self.count else time_ns
        self.longest_ns = max(self.longest_ns, time_ns)
        self.count += 1
        self._counts[round(math.log(time_ns or 1) / _LOG)] += 1

    def quantile(self, part: float) -> float | None:
        """Return a quantile in seconds; None if there are no durations.

        `part` is between 0 and 1. The result is accurate to one percent or one nanosecond,
        whichever is more.
        """
        left = math.ceil(part * self.count)
        for exponent, count in sorted(self._counts.items()):
            left -= count
            if left <= 0:
                duration = min(max(PRECISION**exponent, self._shortest_ns), self.longest_ns)
                return duration / 1e9
        return None

    def cumulative(self) -> list[tuple[float, float]]:
        """Return durations in seconds, ascending, each with the share that takes no longer."""
        found, result = 0, []
        for exponent, count in sorted(self._counts.items()):
            found += count
            result.append((PRECISION**exponent / 1e9, found / self.count))
        return result


class PairStatistics(TypedDict):
    """The requests of a pair in one direction; times are in seconds, None without an answer."""

    pair: str
    direction: str
    requests: int
    answered: int
    not_found: int
    unanswered: int
    not_followed: int
    median: float | None
    p99: float | None
    longest: float | None


class _PairCounts(msgspec.Struct):
    """What became of the requests of a pair, in one direction."""

    requests: int = 0
    refused: int = 0
    given_up: int = 0
    durations: DurationHistogram = msgspec.field(default_factory=DurationHistogram)

    def statistics(self, pair: str, direction: Direction) -> PairStatistics:
        durations = self.durations
        return {
            "pair": pair,
            "direction": direction.value,
            "requests": self.requests,
            "answered": durations.count,
            "not_found": self.refused,
            "unanswered": self.requests - durations.count - self.refused - self.given_up,
            "not_followed": self.given_up,
            "median": durations.quantile(0.5),
            "p99": durations.quantile(0.99),
            "longest": durations.longest_ns / 1e9 if durations.count else None,
        }


class _OpenRequest:
    """One object that was requested and has not come yet."""

    __slots__ = ("counts", "names", "pending", "time_ns")

    def __init__(self, counts: _PairCounts, pending: _Pending, names: Names, time_ns: int) -> None:
        self.counts = counts
        self.pending = pending
        self.names = names
        self.time_ns = time_ns
        for name in names:
            pending.setdefault(name, []).append(self)

    def remove(self) -> None:
        """Stop waiting under all of its names."""
        for name in self.names:
            same = self.pending[name]
            same.remove(self)
            if not same:
                del self.pending[name]


_Pending = dict[Hashable, list[_OpenRequest]]
"""Pending requests by name, the oldest first."""


class ResponseTimes:
    """Matches the requests and answers of entries, which are added in order."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Direction], _PairCounts] = {}
        self._sessions: dict[int, dict[tuple[str, Direction], _Pending]] = {}
        self._order: OrderedDict[_OpenRequest, None] = OrderedDict()
        self._size = 0

    def add(self, entry: Entry) -> None:
        """Add an entry; its payload is decoded if it is a request or an answer."""
        message = entry.message
        roles = None if message is None else _ROLES.get(message.command)
        if roles is None or message is None or message.error is not None:
            return
        record = message.record
        for role, pair, objects in roles if record is not None else ():
            if role is _Role.ASKS:
                # A dropped request never arrived, but a dropped answer was sent.
                if entry.verdict != EntryVerdict.DROP:
                    self._requested(pair, entry, objects(record))
                continue
            pending = self._sessions.get(entry.session, {}).get((pair, entry.direction.other))
            if pending:  # otherwise no hashes need to be computed
                self._answered(pending, objects(record), entry.time_ns, role is _Role.REFUSES)

    def session_ended(self, session: int) -> None:
        """Stop waiting for answers in a session."""
        for pending in self._sessions.pop(session, {}).values():
            for request in {each for same in pending.values() for each in same}:
                self._forget(request)

    def histograms(self) -> dict[str, DurationHistogram]:
        """Return the durations of each pair that was answered, by name and direction."""
        return {
            f"{name} {direction.arrow}": counts.durations
            for (name, direction), counts in self._in_order()
            if counts.durations.count
        }

    def to_list(self) -> list[PairStatistics]:
        """Return the statistics of each pair and direction; the keys are public."""
        return [counts.statistics(*key) for key, counts in self._in_order()]

    def _in_order(self) -> list[tuple[tuple[str, Direction], _PairCounts]]:
        keys = ((pair.name, direction) for pair in PAIRS for direction in Direction)
        return [(key, self._counts[key]) for key in keys if key in self._counts]

    def _requested(self, pair: str, entry: Entry, objects: Iterable[Names]) -> None:
        key = pair, entry.direction
        pending = self._sessions.setdefault(entry.session, {}).setdefault(key, {})
        counts = self._counts.get(key)
        for names in objects:
            if counts is None:
                counts = self._counts[key] = _PairCounts()
            counts.requests += 1
            self._order[_OpenRequest(counts, pending, names, entry.time_ns)] = None
            self._size += len(names)
        while self._size > MAX_PENDING:
            oldest = next(iter(self._order))
            oldest.counts.given_up += 1
            oldest.remove()
            self._forget(oldest)

    def _answered(
        self, pending: _Pending, objects: Iterable[Names], time_ns: int, refused: bool
    ) -> None:
        for names in objects:
            request = _oldest_with(pending, names)
            if request is None:
                continue
            if refused:
                request.counts.refused += 1
            else:
                request.counts.durations.add(time_ns - request.time_ns)
            request.remove()
            self._forget(request)

    def _forget(self, request: _OpenRequest) -> None:
        del self._order[request]
        self._size -= len(request.names)


def _oldest_with(pending: _Pending, names: Names) -> _OpenRequest | None:
    """Return the oldest request with any of these names."""
    for name in names:
        if name in pending:
            return pending[name][0]
        if name is OLDEST:
            return next((same[0] for same in pending.values()), None)
    return None
