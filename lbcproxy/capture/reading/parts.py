"""Several files as parts of one capture: what one leaves open continues in another.

Captures are rotated while connections are open. At the end of a file, its assembler keeps them. A
file that begins later hands what it holds of them to that assembler, which thus sees each
connection in full. Files of other programs are joined by addresses and sequence numbers, as TCP
does it. Our own number their sessions, and a part says that a session is continued.

A file that overlaps another in time keeps its connections to itself: it is another view of them,
not their continuation.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec

from lbcproxy.capture.compression import SUFFIXES
from lbcproxy.capture.packet import Leg, Packet, Segment
from lbcproxy.capture.reading.annotations import Annotations, StreamOffsets, stream_offsets
from lbcproxy.capture.reading.assembler import AssemblerEvent
from lbcproxy.capture.reading.captured_session import CapturedSession
from lbcproxy.capture.tcp.stream_events import MAX_OPEN, Opened, StreamEvent
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import SessionInfo

__all__ = ["OpenSession", "Part", "Parts", "ResumableAssembler"]


MAX_ABSENT = 1_000
"""Names of absent parts that are kept."""

Ends: TypeAlias = frozenset[Endpoint]
Key: TypeAlias = tuple[object, ...]


class ResumableAssembler(Protocol):
    """The assembler of a part, as other parts use it (`PartAssembler`)."""

    @property
    def is_open(self) -> bool:
        """Whether a connection is open."""

    def finish(self) -> Iterator[AssemblerEvent]:
        """End what is open."""

    def segment(self, packet: Packet, segment: Segment) -> Iterable[AssemblerEvent]:
        """Accept a segment of a connection that is open here."""

    def resume(
        self, event: StreamEvent, annotations: Annotations, complete: bool
    ) -> Iterator[AssemblerEvent]:
        """Accept what another part holds of a connection of this one."""

    def reopen(
        self, session: CapturedSession, leg: Leg, event: Opened, annotations: Annotations
    ) -> tuple[int, Iterator[AssemblerEvent]]:
        """Return the number of a session's leg that another part opens again, and its events."""

    def fill(
        self, number: int, offsets: StreamOffsets | None, time_ns: int
    ) -> Iterator[AssemblerEvent]:
        """Report what is missing of a connection between two parts."""


class OpenSession(msgspec.Struct, eq=False):
    """A session of ours that is open at the end of its file."""

    key: Key
    """What all parts say about it."""
    client: Endpoint
    proxy: object
    """The name of the proxy that recorded it, if the file has it."""
    assembler: ResumableAssembler
    session: CapturedSession
    path: Path
    """The last file that held something of it."""
    in_use: bool = False
    """Whether it continues in a file that is being read."""


class Parts:
    """What the assemblers of several files share: session numbers, and what is open."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._origins: dict[int, tuple[Path, int]] = {}
        # Those with something open, and how much.
        self._assemblers: dict[ResumableAssembler, int] = {}
        self._by_ends: dict[Ends, ResumableAssembler] = {}
        self._sessions: dict[Key, list[OpenSession]] = {}
        self.on_continued: Callable[[Path, object, SessionInfo], object] = lambda *_: None
        """Called for each continued session: with the file, the session's number there, the info
        of the session that it continues."""
        self.absent: dict[str, None] = {}
        """Names of parts that should be among the files but are not."""

    def number(self, path: Path, number: int) -> int:
        """Return a number for a session that no session of any file has."""
        unique = next(self._numbers)
        self._origins[unique] = path, number
        return unique

    def take_origin(self, number: int) -> tuple[Path, int]:
        """Return the file in which a session starts, and its number there; once."""
        return self._origins.pop(number)

    def keep(
        self, assembler: ResumableAssembler, ends: list[Ends], sessions: list[OpenSession]
    ) -> Iterator[AssemblerEvent]:
        """Keep the assembler of a file that has ended, because of what is open."""
        for done in [each for each in self._assemblers if not each.is_open]:
            yield from self._end(done)
        if not ends and not sessions:
            yield from assembler.finish()
            return
        self._assemblers[assembler] = len(ends) + len(sessions)
        self._by_ends.update(dict.fromkeys(ends, assembler))
        for session in sessions:
            self._sessions.setdefault(session.key, []).append(session)
        while sum(self._assemblers.values()) > MAX_OPEN:
            yield from self._end(next(iter(self._assemblers)))

    def with_connection(self, segment: Segment) -> ResumableAssembler | None:
        """Return the assembler that has a segment's connection open."""
        return self._by_ends.get(frozenset((segment.source, segment.target)))

    def take(self, key: Key, client: Endpoint, proxy: object, path: Path) -> OpenSession | None:
        """Return the session that continues in another part; None if that is not certain."""
        part = _series(path)
        found = [
            each
            for each in self._sessions.get(key, ())
            if not each.in_use
            and _series(each.path) != part  # a copy of this part had it
            and _may_be_same(each.client, client)
            and (each.proxy == proxy or None in (each.proxy, proxy))
        ]
        if len(found) > 1:
            found = [each for each in found if _series(each.path)[0] == part[0]][:1]
        if not found:
            return None
        found[0].in_use = True
        return found[0]

    def is_part_missing(self, before: Path, path: Path) -> bool:
        """Return whether the names of two parts show that there was another between them."""
        (series, last), (other, number) = _series(before), _series(path)
        if series != other or number <= last + 1:
            return False
        _, stem, suffix = series
        names = (f"{stem}-{each}{suffix}" for each in range(last + 1, number))
        self.absent.update(dict.fromkeys(itertools.islice(names, MAX_ABSENT)))
        return True

    def finish(self) -> Iterator[AssemblerEvent]:
        """End what is still open, because no file follows."""
        while self._assemblers:
            yield from self._end(next(iter(self._assemblers)))

    def _end(self, assembler: ResumableAssembler) -> Iterator[AssemblerEvent]:
        del self._assemblers[assembler]
        for ends in [ends for ends, each in self._by_ends.items() if each is assembler]:
            del self._by_ends[ends]
        for key, sessions in list(self._sessions.items()):
            self._sessions[key] = [each for each in sessions if each.assembler is not assembler]
            if not self._sessions[key]:
                del self._sessions[key]
        yield from assembler.finish()


class Part:
    """One of the files, while it is being read."""

    def __init__(self, parts: Parts, path: Path) -> None:
        self.parts = parts
        self.path = path
        # Sessions that continue in this part, by their number in it.
        self._sessions: dict[object, OpenSession] = {}
        self._connections: dict[int, tuple[ResumableAssembler, int]] = {}

    def release(self) -> None:
        """Let other parts continue the sessions that continued in this one."""
        for session in self._sessions.values():
            session.in_use, session.path = False, self.path
        self._sessions.clear()
        self._connections.clear()

    def is_continued(self, event: StreamEvent) -> bool:
        """Whether an event is about a connection that another assembler has."""
        return event.connection in self._connections

    def happened(
        self, event: StreamEvent, annotations: Annotations, complete: bool
    ) -> Iterator[AssemblerEvent]:
        """Hand such an event to that assembler."""
        assembler, number = self._connections[event.connection]
        event = msgspec.structs.replace(event, connection=number)
        yield from assembler.resume(event, annotations, complete)

    def opened(
        self, event: Opened, leg: Leg, annotations: Annotations, key: Key, proxy: object
    ) -> Iterator[AssemblerEvent] | None:
        """Hand on a connection that a part opens again; return None if it is a new one."""
        own = annotations.get("session")
        if leg is Leg.CLIENT:
            self._sessions.pop(own, None)
            if annotations.get("continued"):
                session = self.parts.take(key, event.client, proxy, self.path)
                if session is not None:
                    self._sessions[own] = session
        known = self._sessions.get(own)
        return None if known is None else self._hand_on(known, event, leg, annotations)

    def _hand_on(
        self, session: OpenSession, event: Opened, leg: Leg, annotations: Annotations
    ) -> Iterator[AssemblerEvent]:
        part_missing = self.parts.is_part_missing(session.path, self.path)
        is_unknown = bool(annotations.get("unrecorded")) or (
            part_missing and "position" not in annotations
        )
        assembler, info_before = session.assembler, session.session.info
        if leg is Leg.CLIENT and info_before is not None:
            self.parts.on_continued(self.path, annotations.get("session"), info_before)
        number, events = assembler.reopen(session.session, leg, event, annotations)
        self._connections[event.connection] = assembler, number
        yield from events
        offsets = None if is_unknown else stream_offsets(annotations)
        yield from assembler.fill(number, offsets, event.time_ns)


def _may_be_same(one: Endpoint, other: Endpoint) -> bool:
    """Whether two parts may mean the same client: a writer replaces addresses that are in use."""
    return one.host == other.host or one.host.startswith("0.") or other.host.startswith("0.")


def _series(path: Path) -> tuple[tuple[Path, str, str], int]:
    """Split the name of a part (`a-3.pcapng.gz`) into what all parts share, and its number."""
    if path.suffix in SUFFIXES:
        path = path.with_suffix("")
    match = re.fullmatch(r"(.+)-(\d{1,9})", path.stem)
    stem, number = (path.stem, 1) if match is None else (match[1], int(match[2]))
    return (path.absolute().parent, stem, path.suffix), number
