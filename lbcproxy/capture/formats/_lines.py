"""Lines of ndjson as what happened on connections: as if each leg of a session had been one."""

from __future__ import annotations

import itertools
from binascii import unhexlify
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lbcproxy import networks
from lbcproxy.capture.packet import Leg, Section, Statistics
from lbcproxy.capture.tcp.stream_events import (
    MAX_OPEN,
    Closed,
    Data,
    Forgotten,
    Gap,
    Happened,
    Opened,
)
from lbcproxy.capture.writing.pcapng import SCHEMA
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import UnknownNetwork
from lbcproxy.networks import Network
from lbcproxy.session import Direction
from lbcproxy.text import time_of_iso
from lbcproxy.wire.envelope import HEADER_SIZE, frame, unpack

if TYPE_CHECKING:
    from lbcproxy.capture.formats.ndjson import Line

__all__ = ["Telling"]

MOST_EARLY = 64 << 20
"""Bytes that wait for upstream legs, of all sessions together."""
MOST_CLOSED = 1024
"""Sessions of which something may still be said after their end."""
_NOWHERE = Endpoint("0.0.0.0", 0)  # noqa: S104  # an address that nobody has


class _Session:
    """A session's connections, by number; the upstream's once it is there."""

    def __init__(self, number: int, client: int, network: Network, upstream: Endpoint) -> None:
        self.number = number
        self.upstream = upstream
        self.network = network
        self.legs = {Leg.CLIENT: client}
        self.finished: set[Direction] = set()
        self.early: list[Happened] = []
        self.early_size = 0
        self.end: dict[str, Any] = {}


class Telling:
    """Takes the lines of a file in order; what is wrong with one raises ValueError."""

    def __init__(self, path: Path, network: Network | None) -> None:
        self._path = path
        self._network = network
        self._connections = itertools.count(1)
        self._sessions: dict[int, _Session] = {}  # those that are open, the longest silent first
        self._closed: dict[int, _Session] = {}
        self._forgot = False  # whether some that were open are not known any more
        self._seen: set[str] = set()  # networks
        self._early_size = 0
        self._by_leg = False

    def take(self, line: Line, offset: int) -> Iterator[Section | Happened | Statistics]:
        """Say what a line tells."""
        if line.event == "section":
            yield self._section(line, offset)
            return
        time_ns = time_of_iso(_said(line.time, "time"))
        if line.event == "lost":
            yield _lost(line, time_ns, offset)
            return
        number = _said(line.session, "session")
        if line.event is None:
            yield from self._message(line, number, time_ns)
        elif line.event == "started":
            yield from self._started(line, number, time_ns)
        elif self._forgot and number not in self._sessions and number not in self._closed:
            return
        elif line.event == "connected":
            local = _endpoint(_said(line.local, "local"))
            yield from self._connected(self._known(number), local, time_ns)
        elif line.event in ("finished", "reset"):
            client = _direction(line) is Direction.TO_UPSTREAM
            session = self._known(number)
            facts = {"end": session.end}
            for connection in session.legs.values():
                closed = Closed(connection, client, line.event == "reset", time_ns)
                yield Happened(closed, facts)
            session.finished |= {_direction(line)} if line.event == "finished" else set(Direction)
            if len(session.finished) == len(Direction):
                self._close(session)
        elif line.event == "ending":
            self._known(number).end = line.end
        elif line.event == "left":
            yield from self._forget(self._known(number), time_ns)
        else:
            raise ValueError(f"no event {line.event[:20]!r} is known")

    def _section(self, line: Line, offset: int) -> Section:
        self._sessions.clear()
        self._closed.clear()
        self._seen.clear()
        self._forgot, self._early_size = False, 0
        self._by_leg = line.changes and line.legs == "both"
        facts: dict[str, Any] = {
            **line.metadata,
            "schema": SCHEMA,
            "network": line.network,
            "legs": line.legs,
            "changes": line.changes,
        }
        return Section((msgspec.json.encode(facts).decode(),), line.comments, offset)

    def _started(self, line: Line, number: int, time_ns: int) -> Iterator[Happened]:
        client = _endpoint(_said(line.client, "client"))
        listen = _endpoint(_said(line.listen, "listen"))
        upstream = listen if line.upstream is None else _endpoint(line.upstream)
        network = self._network_of(line.network)
        self._seen.add(network.id)
        if number in self._sessions:  # its number is another's now
            yield from self._forget(self._sessions[number], time_ns)
        if len(self._sessions) >= MAX_OPEN:
            for session in list(self._sessions.values())[: MAX_OPEN // 2]:
                yield from self._forget(session, time_ns)
                del self._closed[session.number]
            self._forgot = True
        begun = Opened(next(self._connections), client, listen, time_ns, line.begun)
        self._sessions[number] = _Session(number, begun.connection, network, upstream)
        facts = {"session": number, "leg": "client", "network": network.id}
        facts["upstream"] = str(upstream)
        if not line.begun:
            facts |= {"continued": True, "protocol_version": line.protocol_version}
        yield Happened(begun, facts)

    def _close(self, session: _Session) -> None:
        """Take a session for over, though something may still be said of it."""
        if self._sessions.pop(session.number, None) is not None:
            self._early_size -= session.early_size
            session.early, session.early_size = [], 0
            self._closed[session.number] = session
        if len(self._closed) > MOST_CLOSED:
            del self._closed[next(iter(self._closed))]

    def _forget(self, session: _Session, time_ns: int) -> Iterator[Happened]:
        self._close(session)
        for connection in session.legs.values():
            yield Happened(Forgotten(connection, time_ns))

    def _known(self, number: int) -> _Session:
        session = self._sessions.get(number) or self._closed.get(number)
        if session is None:
            raise ValueError(f"session {number} has not started")
        return session

    def _connected(self, session: _Session, local: Endpoint, time_ns: int) -> Iterator[Happened]:
        if Leg.UPSTREAM in session.legs:
            return
        opened = Opened(next(self._connections), local, session.upstream, time_ns)
        session.legs[Leg.UPSTREAM] = opened.connection
        yield Happened(opened, {"session": session.number, "leg": "upstream"})
        early, session.early = session.early, []
        self._early_size -= session.early_size
        session.early_size = 0
        for each in early:
            event = msgspec.structs.replace(
                each.event, connection=opened.connection, time_ns=time_ns
            )
            yield msgspec.structs.replace(each, event=event)

    def _message(self, line: Line, number: int, time_ns: int) -> Iterator[Happened]:
        direction = _direction(line)
        session = self._sessions.pop(number, None)
        if session is None:  # what `show` has printed
            yield from self._started(self._unsaid(line, number), number, time_ns)
        else:
            self._sessions[number] = session  # as the last that was heard of
        session = self._sessions[number]
        raw = _raw(line, session.network)
        facts: dict[str, Any] = {"number": line.number} if line.verdict != "pass" else {}
        if line.verdict != "pass":
            facts |= {"verdict": line.verdict, "trail": list(line.trail)}
        if line.comments:
            facts["comments"] = list(line.comments)
        if not self._by_leg:
            yield _piece(session.legs[Leg.CLIENT], direction, raw, line, time_ns, facts)
            return
        if direction is Direction.TO_CLIENT and line.verdict != "inject":
            yield from self._connected(session, _NOWHERE, time_ns)  # it cannot come from nowhere
        # As a recorder writes it: on the client's leg first.
        for leg in Leg:
            came_in = (leg is Leg.CLIENT) is (direction is Direction.TO_UPSTREAM)
            data = raw if came_in else _sent(line, raw)
            if line.verdict == "inject" and came_in:
                continue
            if not (data or line.missing):
                continue
            piece = _piece(session.legs.get(leg, 0), direction, data, line, time_ns, facts)
            if leg in session.legs:
                yield piece
            elif self._early_size + len(data) <= MOST_EARLY:
                session.early.append(piece)
                session.early_size += len(data)
                self._early_size += len(data)

    def _unsaid(self, line: Line, number: int) -> Line:
        client = Endpoint(_NOWHERE.host, number % 65_536)
        known = self._closed.get(number)
        network = line.network if known is None else known.network.id
        if network is None and self._forgot and len(self._seen) == 1:
            [network] = self._seen  # it is one that went on after it was let go
        return msgspec.structs.replace(
            line,
            client=str(client),
            listen=str(_NOWHERE),
            upstream=None,
            network=network,
            begun=line.command == "version",
        )

    def _network_of(self, name: str | None) -> Network:
        if self._network is not None:
            return self._network
        if name is None:
            raise UnknownNetwork(
                f"{self._path}: it does not say of which network its sessions are; "
                f"say --network, one of {', '.join(networks.all_networks())}"
            )
        try:
            return networks.get(name)
        except KeyError:
            raise ValueError(f"no network {name[:40]!r} is known") from None


def _said(value: Any, key: str) -> Any:
    if value is None:
        raise ValueError(f"it has no {key}")
    return value


def _endpoint(text: str) -> Endpoint:
    return Endpoint.from_text(text)


def _direction(line: Line) -> Direction:
    text = _said(line.direction, "direction")
    if text not in tuple(Direction):
        raise ValueError(f"direction {text[:20]!r} is neither to_upstream nor to_client")
    return Direction(text)


def _bytes(text: str, key: str) -> bytes:
    try:
        return unhexlify(text)
    except ValueError:
        raise ValueError(f"{key} is no hexadecimal") from None


def _raw(line: Line, network: Network) -> bytes:
    """Put together what stood on the wire."""
    if line.payload is None:
        raise ValueError("it has no payload; `show -T ndjson -x` prints it")
    payload = _bytes(line.payload, "payload")
    if line.length not in (None, len(payload)):
        raise ValueError(f"of {line.length:,} bytes of payload it has {len(payload):,}")
    if line.command is None:
        return payload
    if line.header is None:
        return frame(network.magic, line.command, payload)
    header = _bytes(line.header, "header")
    if len(header) != HEADER_SIZE or unpack(header).length != len(payload):
        raise ValueError("header is not that of a frame with this payload")
    return header + payload


def _sent(line: Line, raw: bytes) -> bytes:
    """Give what went out."""
    if line.verdict == "rewrite":
        return b"" if line.sent is None else _bytes(line.sent, "sent")
    return b"" if line.verdict == "drop" else raw


def _piece(
    connection: int,
    direction: Direction,
    data: bytes,
    line: Line,
    time_ns: int,
    facts: dict[str, Any],
) -> Happened:
    from_client = direction is Direction.TO_UPSTREAM
    if line.missing:
        gap = Gap(connection, from_client, line.missing, time_ns)
        return Happened(gap, {"missing": line.missing})
    return Happened(Data(connection, from_client, data, time_ns), facts)


def _lost(line: Line, time_ns: int, offset: int) -> Statistics:
    lost = {
        "messages": line.messages,
        "bytes": line.bytes,
        "packets": line.packets,
        "why": line.why,
    }
    text = msgspec.json.encode({"schema": SCHEMA, "lost": lost}).decode()
    return Statistics(time_ns=time_ns, offset=offset, custom=(text,))
