"""Lines of ndjson as events of connections, as if each leg of a session had been captured."""

from __future__ import annotations

import itertools
from binascii import unhexlify
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from lbcproxy import networks
from lbcproxy.capture.formats._ndjson_line import JsonLine
from lbcproxy.capture.formats._pcapng_blocks import SCHEMA
from lbcproxy.capture.packet import Leg, Section, Statistics
from lbcproxy.capture.tcp.stream_events import (
    MAX_OPEN,
    AnnotatedEvent,
    Closed,
    Data,
    Forgotten,
    Gap,
    Noted,
    Opened,
)
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import UnknownNetwork
from lbcproxy.networks import Network
from lbcproxy.session import Direction
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.text import time_of_iso
from lbcproxy.wire.envelope import HEADER_SIZE, frame, unpack

__all__ = ["LineReader"]

MAX_EARLY = 64 << 20
"""Bytes that wait for upstream legs, of all sessions together."""
MAX_CLOSED = 1024
"""Sessions that are remembered after their end, since more lines about them may follow."""
_UNKNOWN_ENDPOINT = Endpoint("0.0.0.0", 0)  # noqa: S104  # in place of an unknown address

Value = TypeVar("Value")


class _Connections:
    """The connections of a session, by leg; the upstream's once it is open."""

    def __init__(self, number: int, client: int, network: Network, upstream: Endpoint) -> None:
        self.number = number
        self.upstream = upstream
        self.network = network
        self.legs = {Leg.CLIENT: client}
        self.finished: set[Direction] = set()
        self.early: list[AnnotatedEvent] = []
        self.early_size = 0
        self.end: dict[str, object] = {}


class LineReader:
    """Makes events of the lines of a file, in order. A bad line raises ValueError."""

    def __init__(self, path: Path, network: Network | None) -> None:
        self._path = path
        self._network = network
        self._connections = itertools.count(1)
        self._sessions: dict[int, _Connections] = {}  # open ones, the longest silent first
        self._closed: dict[int, _Connections] = {}
        self._has_forgotten = False  # whether open sessions had to be forgotten
        self._seen: set[str] = set()  # networks
        self._early_size = 0
        self._by_leg = False

    def read(self, line: JsonLine, offset: int) -> Iterator[Section | AnnotatedEvent | Statistics]:
        """Return the events of a line."""
        if line.event == "section":
            yield self._section(line, offset)
            return
        time_ns = time_of_iso(_required(line.time, "time"))
        if line.event == "lost":
            yield _lost(line, time_ns, offset)
            return
        number = _required(line.session, "session")
        if line.event is None:
            yield from self._message(line, number, time_ns)
        elif line.event == "started":
            yield from self._started(line, number, time_ns)
        elif self._has_forgotten and number not in self._sessions and number not in self._closed:
            return
        elif line.event == "connected":
            local = _endpoint(_required(line.local, "local"))
            yield from self._connected(self._session(number), local, time_ns)
        elif line.event in ("finished", "reset"):
            yield from self._ended(line, self._session(number), time_ns)
        elif line.event == "transports":
            noted = Noted(self._session(number).legs[Leg.CLIENT], time_ns)
            yield AnnotatedEvent(noted, {"transports": line.transports})
        elif line.event == "ending":
            self._session(number).end = line.end
        elif line.event == "left":
            yield from self._forget(self._session(number), time_ns)
        else:
            raise ValueError(f"unknown event {line.event[:20]!r}")

    def _ended(
        self, line: JsonLine, session: _Connections, time_ns: int
    ) -> Iterator[AnnotatedEvent]:
        """Return the end of a direction (`finished`) or of both (`reset`), on each leg."""
        direction, is_reset = _direction(line), line.event == "reset"
        from_client = direction is Direction.TO_UPSTREAM
        for connection in session.legs.values():
            closed = Closed(connection, from_client, is_reset, time_ns)
            yield AnnotatedEvent(closed, {"end": session.end})
        session.finished |= set(Direction) if is_reset else {direction}
        if len(session.finished) == len(Direction):
            self._close(session)

    def _section(self, line: JsonLine, offset: int) -> Section:
        self._sessions.clear()
        self._closed.clear()
        self._seen.clear()
        self._has_forgotten, self._early_size = False, 0
        self._by_leg = line.changes and line.legs == "both"
        annotations: dict[str, object] = {
            **line.metadata,
            "schema": SCHEMA,
            "network": line.network,
            "legs": line.legs,
            "changes": line.changes,
        }
        return Section((msgspec.json.encode(annotations).decode(),), line.comments, offset)

    def _started(self, line: JsonLine, number: int, time_ns: int) -> Iterator[AnnotatedEvent]:
        client = _endpoint(_required(line.client, "client"))
        listen = _endpoint(_required(line.listen, "listen"))
        upstream = listen if line.upstream is None else _endpoint(line.upstream)
        network = self._network_of(line.network)
        self._seen.add(network.id)
        if number in self._sessions:  # another session has its number now
            yield from self._forget(self._sessions[number], time_ns)
        if len(self._sessions) >= MAX_OPEN:
            for session in list(self._sessions.values())[: MAX_OPEN // 2]:
                yield from self._forget(session, time_ns)
                del self._closed[session.number]
            self._has_forgotten = True
        opened = Opened(next(self._connections), client, listen, time_ns, line.begun)
        self._sessions[number] = _Connections(number, opened.connection, network, upstream)
        annotations: dict[str, object] = {
            "session": number,
            "leg": "client",
            "network": network.id,
            "upstream": str(upstream),
        }
        if not line.begun:
            annotations |= {"continued": True, "protocol_version": line.protocol_version}
        yield AnnotatedEvent(opened, annotations)

    def _close(self, session: _Connections) -> None:
        """Count a session as over, though more lines about it may follow."""
        if self._sessions.pop(session.number, None) is not None:
            self._early_size -= session.early_size
            session.early, session.early_size = [], 0
            self._closed[session.number] = session
        if len(self._closed) > MAX_CLOSED:
            del self._closed[next(iter(self._closed))]

    def _forget(self, session: _Connections, time_ns: int) -> Iterator[AnnotatedEvent]:
        self._close(session)
        for connection in session.legs.values():
            yield AnnotatedEvent(Forgotten(connection, time_ns))

    def _session(self, number: int) -> _Connections:
        session = self._sessions.get(number) or self._closed.get(number)
        if session is None:
            raise ValueError(f"session {number} has not started")
        return session

    def _connected(
        self, session: _Connections, local: Endpoint, time_ns: int
    ) -> Iterator[AnnotatedEvent]:
        if Leg.UPSTREAM in session.legs:
            return
        opened = Opened(next(self._connections), local, session.upstream, time_ns)
        session.legs[Leg.UPSTREAM] = opened.connection
        yield AnnotatedEvent(opened, {"session": session.number, "leg": "upstream"})
        early, session.early = session.early, []
        self._early_size -= session.early_size
        session.early_size = 0
        for each in early:
            event = msgspec.structs.replace(
                each.event, connection=opened.connection, time_ns=time_ns
            )
            yield msgspec.structs.replace(each, event=event)

    def _message(self, line: JsonLine, number: int, time_ns: int) -> Iterator[AnnotatedEvent]:
        direction = _direction(line)
        session = self._sessions.pop(number, None)
        if session is None:  # printed by `show`: messages only
            yield from self._started(self._with_start(line, number), number, time_ns)
        else:
            self._sessions[number] = session  # now the last in line to be forgotten
        session = self._sessions[number]
        raw = _raw(line, session.network)
        annotations: dict[str, object] = {}
        if line.verdict != EntryVerdict.PASS:
            annotations |= {
                "number": line.number,
                "verdict": line.verdict,
                "trail": list(line.trail),
            }
        if line.comments:
            annotations["comments"] = list(line.comments)
        if line.form:
            annotations["form"] = line.form
        if not self._by_leg:
            yield _data(session.legs[Leg.CLIENT], direction, raw, line, time_ns, annotations)
            return
        if direction is Direction.TO_CLIENT and line.verdict != EntryVerdict.INJECT:
            yield from self._connected(
                session, _UNKNOWN_ENDPOINT, time_ns
            )  # the message came over this leg
        # In the order of a recorder: the client leg first.
        for leg in Leg:
            came_in = (leg is Leg.CLIENT) is (direction is Direction.TO_UPSTREAM)
            data = raw if came_in else _sent(line, raw)
            if line.verdict == EntryVerdict.INJECT and came_in:
                continue
            if not (data or line.missing):
                continue
            happened = _data(session.legs.get(leg, 0), direction, data, line, time_ns, annotations)
            if leg in session.legs:
                yield happened
            elif self._early_size + len(data) <= MAX_EARLY:
                session.early.append(happened)
                session.early_size += len(data)
                self._early_size += len(data)

    def _with_start(self, line: JsonLine, number: int) -> JsonLine:
        """Return the line of a message with what the missing `started` would have said."""
        client = Endpoint(_UNKNOWN_ENDPOINT.host, number % 65_536)
        closed = self._closed.get(number)
        network = line.network if closed is None else closed.network.id
        if network is None and self._has_forgotten and len(self._seen) == 1:
            [network] = self._seen  # one that was forgotten while it was open
        return msgspec.structs.replace(
            line,
            client=str(client),
            listen=str(_UNKNOWN_ENDPOINT),
            upstream=None,
            network=network,
            begun=line.command == "version",
        )

    def _network_of(self, name: str | None) -> Network:
        if self._network is not None:
            return self._network
        if name is None:
            raise UnknownNetwork(
                f"{self._path}: it does not say which network its sessions are of; "
                f"say --network, one of {', '.join(networks.all_networks())}"
            )
        try:
            return networks.get(name)
        except KeyError:
            raise ValueError(f"unknown network {name[:40]!r}") from None


def _required(value: Value | None, key: str) -> Value:
    if value is None:
        raise ValueError(f"it has no {key}")
    return value


def _endpoint(text: str) -> Endpoint:
    return Endpoint.from_text(text)


def _direction(line: JsonLine) -> Direction:
    text = _required(line.direction, "direction")
    if text not in tuple(Direction):
        raise ValueError(f"direction {text[:20]!r} is neither to_upstream nor to_client")
    return Direction(text)


def _bytes(text: str, key: str) -> bytes:
    try:
        return unhexlify(text)
    except ValueError:
        raise ValueError(f"{key} is not hexadecimal") from None


def _raw(line: JsonLine, network: Network) -> bytes:
    """Return the bytes as they were on the wire."""
    if line.payload is None:
        raise ValueError("it has no payload; `show -T ndjson -x` prints it")
    payload = _bytes(line.payload, "payload")
    if line.length not in (None, len(payload)):
        raise ValueError(f"it has {len(payload):,} of {line.length:,} bytes of payload")
    if line.command is None:
        return payload
    if line.header is None:
        return frame(network.magic, line.command, payload)
    header = _bytes(line.header, "header")
    if len(header) != HEADER_SIZE or unpack(header).length != len(payload):
        raise ValueError("header does not fit a frame with this payload")
    return header + payload


def _sent(line: JsonLine, raw: bytes) -> bytes:
    """Return the bytes that were sent."""
    if line.verdict == EntryVerdict.REWRITE:
        return b"" if line.sent is None else _bytes(line.sent, "sent")
    return b"" if line.verdict == EntryVerdict.DROP else raw


def _data(
    connection: int,
    direction: Direction,
    data: bytes,
    line: JsonLine,
    time_ns: int,
    annotations: dict[str, object],
) -> AnnotatedEvent:
    from_client = direction is Direction.TO_UPSTREAM
    if line.missing:
        gap = Gap(connection, from_client, line.missing, time_ns)
        return AnnotatedEvent(gap, {"missing": line.missing})
    return AnnotatedEvent(Data(connection, from_client, data, time_ns), annotations)


def _lost(line: JsonLine, time_ns: int, offset: int) -> Statistics:
    lost = {
        "messages": line.messages,
        "bytes": line.bytes,
        "packets": line.packets,
        "why": line.why,
    }
    text = msgspec.json.encode({"schema": SCHEMA, "lost": lost}).decode()
    return Statistics(time_ns=time_ns, offset=offset, custom=(text,))
