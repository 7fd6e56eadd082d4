"""Several files as parts of one capture: what one leaves open goes on in another.

Captures are rotated while connections are open. Where a file ends, its reading keeps them; a file
that begins after that end hands what it holds of them to that reading, which so sees each
connection whole. Files of others are joined by addresses and sequence numbers, as TCP does it. Ours
number their sessions, and a part says of a session that it is continued.

A file that overlaps another in time keeps its connections to itself: it is another view of them,
not what follows.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from lbcproxy.capture.formats._packed import PACKINGS
from lbcproxy.capture.packet import Leg
from lbcproxy.capture.reading.facts import Facts, position_in
from lbcproxy.capture.tcp.stream_events import MAX_OPEN
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import SessionInfo

if TYPE_CHECKING:
    from lbcproxy.capture.packet import Segment
    from lbcproxy.capture.reading.assembler import Told
    from lbcproxy.capture.reading.conversation import Conversation
    from lbcproxy.capture.reading.part_reading import PartReading
    from lbcproxy.capture.tcp.stream_events import Opened, StreamEvent

__all__ = ["OpenSession", "Part", "Parts"]


MOST_ABSENT = 1_000
"""Names of absent parts that are kept."""

Ends: TypeAlias = frozenset[Endpoint]
Key: TypeAlias = tuple[object, ...]


class OpenSession(msgspec.Struct, eq=False):
    """A session of ours that is open where its file ends."""

    key: Key
    """What all parts say of it."""
    client: Endpoint
    proxy: object
    """The name of the proxy that recorded it, if the file says so."""
    reading: PartReading
    conversation: Conversation
    path: Path
    """The last file that had something of it."""
    in_use: bool = False
    """Whether a file that is being read has more of it."""


class Parts:
    """What the readings of several files share: numbers of sessions, and what is open."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._origins: dict[int, tuple[Path, int]] = {}
        self._readings: dict[PartReading, int] = {}  # those with something open, and how much
        self._by_ends: dict[Ends, PartReading] = {}
        self._sessions: dict[Key, list[OpenSession]] = {}
        self.continued: Callable[[Path, object, SessionInfo], object] = lambda *_: None
        """Is told of each session that goes on: in which file, its number there, whose it is."""
        self.absent: dict[str, None] = {}
        """Names of parts that should be among the files and are not."""

    def number(self, path: Path, number: int) -> int:
        """Return a number for a session that no session of any file has."""
        unique = next(self._numbers)
        self._origins[unique] = path, number
        return unique

    def origin(self, number: int) -> tuple[Path, int]:
        """Return the file that a session begins in, and its number there; once."""
        return self._origins.pop(number)

    def keep(
        self, reading: PartReading, ends: list[Ends], sessions: list[OpenSession]
    ) -> Iterator[Told]:
        """Keep a reading whose file has ended, for what it has open."""
        for done in [each for each in self._readings if not each.is_open]:
            yield from self._end(done)
        if not ends and not sessions:
            yield from reading.finish()
            return
        self._readings[reading] = len(ends) + len(sessions)
        self._by_ends.update(dict.fromkeys(ends, reading))
        for session in sessions:
            self._sessions.setdefault(session.key, []).append(session)
        while sum(self._readings.values()) > MAX_OPEN:
            yield from self._end(next(iter(self._readings)))

    def with_connection(self, segment: Segment) -> PartReading | None:
        """Return the reading that has a segment's connection open."""
        return self._by_ends.get(frozenset((segment.source, segment.target)))

    def take(self, key: Key, client: Endpoint, proxy: object, path: Path) -> OpenSession | None:
        """Return the session that goes on in another part; None if that is not sure."""
        part = _series(path)
        found = [
            each
            for each in self._sessions.get(key, ())
            if not each.in_use
            and _series(each.path) != part  # a copy of this part had it
            and _alike(each.client, client)
            and (each.proxy == proxy or None in (each.proxy, proxy))
        ]
        if len(found) > 1:
            found = [each for each in found if _series(each.path)[0] == part[0]][:1]
        if not found:
            return None
        found[0].in_use = True
        return found[0]

    def lack_one(self, before: Path, path: Path) -> bool:
        """Return whether by the names of two parts there was another between them."""
        (series, last), (other, number) = _series(before), _series(path)
        if series != other or number <= last + 1:
            return False
        _, stem, suffix = series
        names = (f"{stem}-{each}{suffix}" for each in range(last + 1, number))
        self.absent.update(dict.fromkeys(itertools.islice(names, MOST_ABSENT)))
        return True

    def finish(self) -> Iterator[Told]:
        """End what is still open: no file follows."""
        while self._readings:
            yield from self._end(next(iter(self._readings)))

    def _end(self, reading: PartReading) -> Iterator[Told]:
        del self._readings[reading]
        for ends in [ends for ends, each in self._by_ends.items() if each is reading]:
            del self._by_ends[ends]
        for key, sessions in list(self._sessions.items()):
            self._sessions[key] = [each for each in sessions if each.reading is not reading]
            if not self._sessions[key]:
                del self._sessions[key]
        yield from reading.finish()


class Part:
    """One of the files, while it is read."""

    def __init__(self, parts: Parts, path: Path) -> None:
        self.parts = parts
        self.path = path
        self._sessions: dict[object, OpenSession] = {}  # that go on in it, by their number in it
        self._connections: dict[int, tuple[PartReading, int]] = {}

    def release(self) -> None:
        """Let other parts have the sessions that went on in this one."""
        for session in self._sessions.values():
            session.in_use, session.path = False, self.path
        self._sessions.clear()
        self._connections.clear()

    def goes_on(self, event: StreamEvent) -> bool:
        """Whether an event is of a connection that another reading has."""
        return event.connection in self._connections

    def happened(self, event: StreamEvent, facts: Facts, whole: bool) -> Iterator[Told]:
        """Hand such an event to that reading."""
        reading, number = self._connections[event.connection]
        yield from reading.go_on(msgspec.structs.replace(event, connection=number), facts, whole)

    def opened(
        self, event: Opened, leg: Leg, facts: Facts, key: Key, proxy: object
    ) -> Iterator[Told] | None:
        """Hand on a connection that a part opens again; None if it is a new one."""
        own = facts.get("session")
        if leg is Leg.CLIENT:
            self._sessions.pop(own, None)
            if facts.get("continued"):
                session = self.parts.take(key, event.client, proxy, self.path)
                if session is not None:
                    self._sessions[own] = session
        known = self._sessions.get(own)
        return None if known is None else self._hand_on(known, event, leg, facts)

    def _hand_on(
        self, session: OpenSession, event: Opened, leg: Leg, facts: Facts
    ) -> Iterator[Told]:
        lack_one = self.parts.lack_one(session.path, self.path)
        is_unknown = bool(facts.get("unrecorded")) or (lack_one and "position" not in facts)
        reading, facts_before = session.reading, session.conversation.facts
        if leg is Leg.CLIENT and facts_before is not None:
            self.parts.continued(self.path, facts.get("session"), facts_before)
        number, told = reading.reopen(session.conversation, leg, event, facts)
        self._connections[event.connection] = reading, number
        yield from told
        position = None if is_unknown else position_in(facts)
        yield from reading.fill(number, position, event.time_ns)


def _alike(one: Endpoint, other: Endpoint) -> bool:
    """Whether two parts may mean the same client: a writer makes up addresses that are taken."""
    return one.host == other.host or one.host.startswith("0.") or other.host.startswith("0.")


def _series(path: Path) -> tuple[tuple[Path, str, str], int]:
    """Split the name of a part, as `a-3.pcapng.gz`, into what all parts share, and its number."""
    if path.suffix in PACKINGS:
        path = path.with_suffix("")
    match = re.fullmatch(r"(.+)-(\d{1,9})", path.stem)
    stem, number = (path.stem, 1) if match is None else (match[1], int(match[2]))
    return (path.absolute().parent, stem, path.suffix), number
