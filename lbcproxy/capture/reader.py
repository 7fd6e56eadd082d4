"""Captures as entries: ours, and what tcpdump and Wireshark wrote.

A file is read as it is iterated; neither its packets nor its messages are kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from lbcproxy import networks
from lbcproxy.capture.connection import Connection, Room, UnknownNetwork
from lbcproxy.capture.formats import recognise
from lbcproxy.capture.lookahead import Lookahead
from lbcproxy.capture.met import Met, SessionReport
from lbcproxy.capture.packet import Leg, Packet, Section, Segment
from lbcproxy.capture.streams import Data, Event, Forgotten, Gap, Opened, Reassembler
from lbcproxy.capture.tcp import dissect
from lbcproxy.capture.writer import SCHEMA
from lbcproxy.errors import CaptureError
from lbcproxy.networks import Network
from lbcproxy.session import Direction, Entry, Session

__all__ = ["Capture", "UnknownNetwork", "open_capture"]

_CAME_IN = {Leg.CLIENT: Direction.TO_UPSTREAM, Leg.UPSTREAM: Direction.TO_CLIENT}
_SERVER_PORTS = frozenset(network.port for network in networks.all_networks().values())


def open_capture(path: str | Path, network: str | Network | None = None) -> Capture:
    """Open a capture to iterate over its entries.

    Captures of ours name their network; of others a magic that one network alone has chooses it,
    connection by connection, unless `network` is given. Raises OSError if the file cannot be
    opened, KeyError for a network that does not exist; iterating raises CaptureError where the
    file is damaged, after all before it was given, and UnknownNetwork.
    """
    if isinstance(network, str):
        network = networks.get(network)
    with Path(path).open("rb"):  # an error belongs to the call, not to the iteration
        pass
    return Capture(Path(path), network)


class Capture:
    """The entries of a file, in order; each iteration reads the file anew.

    `met` tells what else was met; `ended` is told of each session that is over. `opened` may be
    set to open the file in another way, as to show how far it has been read.
    """

    def __init__(self, path: Path, network: Network | None) -> None:
        self.path = path
        self._network = network
        self.met = Met()
        self.ended: Callable[[SessionReport], object] = lambda _: None
        self.opened: Callable[[Path], BinaryIO] = lambda path: path.open("rb")

    @property
    def sessions(self) -> int:
        """Sessions met so far."""
        return self.met.sessions

    @property
    def skipped(self) -> int:
        """Connections passed over because they are of no known network."""
        return self.met.skipped

    def __iter__(self) -> Iterator[Entry]:
        self.met = Met()
        reading = _Reading(self, self._network)
        damage: CaptureError | None = None
        with self.opened(self.path) as file:
            form, file = recognise(file)
            self.met.format = form.NAME
            packets = form.read(file)
            while True:
                try:
                    packet = next(packets, None)
                except CaptureError as error:
                    damage, packet = error, None
                if packet is None:
                    break
                yield from reading.take(packet)
        yield from reading.finish()
        if damage is not None:
            raise damage
        if self.met.unread and not self.met.segments:
            raise CaptureError(f"{self.path}: {'; '.join(self.met.notices)}")
        if self.skipped and not self.sessions:
            raise UnknownNetwork(
                f"{self.path}: none of its {self.skipped} connections begins with the magic of a "
                f"known network; say --network, one of {', '.join(networks.all_networks())}"
            )


class _Reading:
    """One pass over a file."""

    def __init__(self, capture: Capture, network: Network | None) -> None:
        self._capture = capture
        self._met = capture.met
        self._asked = network
        self._named: Network | None = None
        self._changes = False
        self._numbers = itertools.count(1)
        self._room = Room()
        self._highest = 0
        self._begin()

    def _begin(self) -> None:
        """Begin a section: what was open in the one before does not go on."""
        self._reassembler = Reassembler(server_ports=_SERVER_PORTS)
        self._lookahead = Lookahead(self._reassembler.knows)
        self._connections: dict[int, Connection] = {}
        self._sessions: dict[int, int] = {}
        self._reports: dict[int, SessionReport] = {}
        self._last_time = 0

    def take(self, packet: Packet | Section) -> Iterator[Entry]:
        if isinstance(packet, Section):
            yield from self.finish()
            self._begin()
            self._section(packet)
            return
        if not self._met.packet(packet.time_ns, packet.link_type):
            return
        segment = dissect(packet, self._met.fragments)
        if segment is None:
            return
        self._met.segments += 1
        for each in self._lookahead.feed(packet, segment):
            yield from self._read(*each)

    def _section(self, section: Section) -> None:
        self._met.sections += 1
        for comment in section.comments:
            self._met.comment(comment)
        self._named = _named_network(section)
        facts = _facts(section)
        # With one leg in the file there is nothing that stands on the other as well.
        self._changes = bool(facts.get("changes")) and facts.get("legs") == "both"

    def _read(self, packet: Packet, segment: Segment) -> Iterator[Entry]:
        self._last_time = packet.time_ns
        facts = _facts(packet)
        for event in self._reassembler.feed(packet.time_ns, segment):
            if isinstance(event, Opened):
                self._open(event, facts)
            else:
                yield from self._numbered(self._entries(event, facts), facts)

    def finish(self) -> Iterator[Entry]:
        for each in self._lookahead.finish():
            yield from self._read(*each)
        for event in self._reassembler.finish():
            yield from self._numbered(self._entries(event, {}), {})
        for connection in list(self._connections.values()):
            for direction in Direction:
                yield from self._numbered(connection.end(direction, self._last_time, None), {})
            self._close(connection)
        self._connections.clear()
        for report in self._reports.values():
            self._capture.ended(report)
        self._reports.clear()

    def _open(self, event: Opened, facts: dict[str, Any]) -> None:
        leg = facts.get("leg", Leg.CLIENT)
        if leg == Leg.UPSTREAM and not self._changes:
            return  # the client leg has the same messages
        begun = event.begun and not facts.get("continued")
        version = _version(facts)
        connection = Connection(
            event,
            lambda network: self._session(network, connection, begun, version),
            network=self._asked or self._named,
            came_in=_CAME_IN[Leg(leg)] if self._changes else None,
            upstream=facts.get("upstream"),
            room=self._room,
        )
        if "session" in facts:  # ours: both legs of a session have its number
            known = self._sessions.get(facts["session"]) if leg == Leg.UPSTREAM else None
            number = known or self._next_session(facts["session"])
            connection.number = self._sessions[facts["session"]] = number
        self._connections[event.connection] = connection

    def _next_session(self, own: object = 0) -> int:
        """Give a session its number: its own, in a file of ours, unless that is taken."""
        self._met.sessions += 1
        wanted = own if isinstance(own, int) else 0
        self._highest = max(self._highest + 1, wanted)
        return self._highest

    def _session(
        self, network: Network, connection: Connection, begun: bool, version: int | None
    ) -> Session:
        """Make the core that reads a connection, at its first bytes."""
        if connection.number is None:
            connection.number = self._next_session()
        if connection.came_in is not Direction.TO_CLIENT:  # the client leg knows both ends
            self._met.between[connection.number] = connection.facts(connection.number, network)
        return Session(
            connection.number,
            network,
            numbers=itertools.repeat(0),
            stream_above=None,
            begins=begun,
            protocol_version=version
            if isinstance(version, int) and 0 <= version < 1 << 32
            else None,
        )

    def _close(self, connection: Connection) -> None:
        """Count a connection that is over, and tell of its session when both its legs are."""
        self._met.skipped += connection.unknown
        number = connection.number
        if number is None:
            return
        report = connection.report(number)
        if connection.came_in is None:
            self._met.between.pop(number, None)
            self._capture.ended(report)
            return
        other = self._reports.pop(number, None)
        if other is None:
            self._reports[number] = report
        else:
            self._met.between.pop(number, None)
            client_leg = connection.came_in is Direction.TO_UPSTREAM
            legs = (report, other) if client_leg else (other, report)
            self._capture.ended(_of_both_legs(*legs))

    def _numbered(self, entries: Iterator[Entry], facts: dict[str, Any]) -> Iterator[Entry]:
        """Give entries their numbers, and what their packet says became of them."""
        for entry in entries:
            changes: dict[str, Any] = {"number": next(self._numbers)}
            if "verdict" in facts:
                changes["verdict"] = str(facts["verdict"])
                changes["trail"] = tuple(map(str, facts.get("trail", ())))
            yield msgspec.structs.replace(entry, **changes)

    def _entries(self, event: Event, facts: dict[str, Any]) -> Iterator[Entry]:
        connection = self._connections.get(event.connection)
        if connection is None or isinstance(event, Opened):
            return
        from_client = isinstance(event, Forgotten) or event.from_client
        direction = Direction.TO_UPSTREAM if from_client else Direction.TO_CLIENT
        went_out = connection.came_in is not None and connection.came_in is not direction
        wanted = not went_out or facts.get("verdict") == "inject"
        if isinstance(event, Data):
            found = connection.data(direction, event.data, event.time_ns)
            yield from (entry for entry in found if wanted)
        elif isinstance(event, Gap):
            yield from connection.gap(direction, event.missing, event.time_ns)
        elif isinstance(event, Forgotten):
            for each in Direction:
                yield from connection.end(each, event.time_ns, None, "silent")
            self._forget(event.connection)
        else:
            yield from connection.end(direction, event.time_ns, event)
            if event.reset:  # nothing will come in the other direction either
                yield from connection.end(direction.other, event.time_ns, event)
            if connection.over:
                self._forget(event.connection)

    def _forget(self, number: int) -> None:
        self._close(self._connections.pop(number))


def _of_both_legs(client: SessionReport, upstream: SessionReport) -> SessionReport:
    """Put the reports of two legs together: of each node what came in from it."""
    return msgspec.structs.replace(
        client,
        server=upstream.server,
        ended_ns=max(client.ended_ns, upstream.ended_ns),
        missing=client.missing + upstream.missing,
        to_client=upstream.to_client,
    )


def _facts(packet: Packet | Section) -> dict[str, Any]:
    """Read what a writer of ours left in a packet or section."""
    for text in packet.custom:
        with suppress(msgspec.DecodeError):
            facts = msgspec.json.decode(text)
            if isinstance(facts, dict) and facts.get("schema") == SCHEMA:
                return facts
    return {}


def _version(facts: dict[str, Any]) -> int | None:
    """Give the version that nodes had agreed on when their session was continued in this file."""
    version = facts.get("protocol_version")
    known = isinstance(version, int) and 0 <= version < 1 << 32
    return version if known and facts.get("continued") else None


def _named_network(section: Section) -> Network | None:
    name = _facts(section).get("network")
    try:
        return None if name is None else networks.get(name)
    except KeyError:
        return None
