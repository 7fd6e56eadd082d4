"""Captures as entries: ours, and what tcpdump and Wireshark wrote.

A file is read as it is iterated; neither its packets nor its messages are kept.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from lbcproxy import networks
from lbcproxy.capture.formats import read_packets
from lbcproxy.capture.packet import Leg, Packet, Section
from lbcproxy.capture.streams import Data, Event, Gap, Opened, Reassembler
from lbcproxy.capture.tcp import dissect
from lbcproxy.capture.writer import SCHEMA
from lbcproxy.errors import CaptureError, LbcproxyError
from lbcproxy.networks import Network
from lbcproxy.session import Direction, Entry, Passage, Session

__all__ = ["Capture", "UnknownNetwork", "open_capture"]

_CAME_IN = {Leg.CLIENT: Direction.TO_UPSTREAM, Leg.UPSTREAM: Direction.TO_CLIENT}
_SERVER_PORTS = frozenset(network.port for network in networks.all_networks().values())
UNDECIDED = 4096
"""Bytes of a connection that are looked at for the magic of a known network."""


class UnknownNetwork(LbcproxyError):
    """A file of others does not tell whose traffic it holds; the text names the candidates."""


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
    """The entries of a file, in order; each iteration reads the file anew."""

    def __init__(self, path: Path, network: Network | None) -> None:
        self.path = path
        self._network = network
        self.sessions = 0
        """Sessions met so far."""
        self.skipped = 0
        """Connections passed over because they are of no known network."""

    def __iter__(self) -> Iterator[Entry]:
        self.sessions = self.skipped = 0
        reading = _Reading(self, self._network)
        damage: CaptureError | None = None
        with self.path.open("rb") as file:
            packets = read_packets(file)
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
        if self.skipped and not self.sessions:
            raise UnknownNetwork(
                f"{self.path}: none of its {self.skipped} connections begins with the magic of a "
                f"known network; say --network, one of {', '.join(networks.all_networks())}"
            )


class _Reading:
    """One pass over a file."""

    def __init__(self, capture: Capture, network: Network | None) -> None:
        self._capture = capture
        self._asked = network
        self._named: Network | None = None
        self._changes = False
        self._numbers = itertools.count(1)
        self._reassembler = Reassembler(server_ports=_SERVER_PORTS)
        self._connections: dict[int, _Connection] = {}
        self._sessions: dict[int, int] = {}
        self._last_time = 0

    def take(self, packet: Packet | Section) -> Iterator[Entry]:
        if isinstance(packet, Section):
            yield from self.finish()
            self._reassembler = Reassembler(server_ports=_SERVER_PORTS)
            self._named = _named_network(packet)
            facts = _facts(packet)
            # With one leg in the file there is nothing that stands on the other as well.
            self._changes = bool(facts.get("changes")) and facts.get("legs") == "both"
            self._sessions.clear()
            return
        self._last_time = packet.time_ns
        segment = dissect(packet)
        if segment is None:
            return
        facts = _facts(packet)
        for event in self._reassembler.feed(packet.time_ns, segment):
            if isinstance(event, Opened):
                self._open(event, facts)
            else:
                yield from self._numbered(self._entries(event, facts), facts)

    def finish(self) -> Iterator[Entry]:
        for event in self._reassembler.finish():
            yield from self._numbered(self._entries(event, {}), {})
        for connection in self._connections.values():
            for direction in Direction:
                yield from self._numbered(connection.end(direction, self._last_time), {})
        self._capture.skipped += sum(each.unknown for each in self._connections.values())
        self._connections.clear()

    def _open(self, event: Opened, facts: dict[str, Any]) -> None:
        leg = facts.get("leg", Leg.CLIENT)
        if leg == Leg.UPSTREAM and not self._changes:
            return  # the client leg has the same messages
        number = None
        if "session" in facts:  # ours: both legs of a session have its number
            known = self._sessions.get(facts["session"]) if leg == Leg.UPSTREAM else None
            number = self._sessions[facts["session"]] = known or self._next_session()
        connection = _Connection(
            lambda network: self._session(network, number, event.begun),
            came_in=_CAME_IN[Leg(leg)] if self._changes else None,
        )
        connection.network = self._asked or self._named
        self._connections[event.connection] = connection

    def _next_session(self) -> int:
        self._capture.sessions += 1
        return self._capture.sessions

    def _session(self, network: Network, number: int | None, begun: bool) -> Session:
        """Make the core that reads a connection, at its first bytes."""
        number = self._next_session() if number is None else number
        return Session(
            number, network, numbers=itertools.repeat(0), stream_above=None, begins=begun
        )

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
        direction = Direction.TO_UPSTREAM if event.from_client else Direction.TO_CLIENT
        went_out = connection.came_in is not None and connection.came_in is not direction
        wanted = not went_out or facts.get("verdict") == "inject"
        if isinstance(event, Data):
            found = connection.data(direction, event.data, event.time_ns)
            yield from (entry for entry in found if wanted)
        elif isinstance(event, Gap):
            yield from connection.gap(direction, event.missing, event.time_ns)
        else:
            yield from connection.end(direction, event.time_ns)
            if connection.over:
                self._capture.skipped += connection.unknown
                del self._connections[event.connection]


class _Connection:
    """A TCP connection, on its way to being a session."""

    def __init__(
        self, make_session: Callable[[Network], Session], *, came_in: Direction | None
    ) -> None:
        self.session: Session | None = None
        self.network: Network | None = None
        """Whose traffic it is, where that is known without looking."""
        self.came_in = came_in
        """The direction that came in on this leg; what went out stands on the other as well."""
        self._make_session = make_session
        self._held: list[tuple[Direction, bytes, int]] = []
        self._given_up = False
        self._ended: set[Direction] = set()

    @property
    def over(self) -> bool:
        return len(self._ended) == len(Direction)

    @property
    def unknown(self) -> bool:
        """Whether it is of no network that could be told."""
        return self.session is None and self.network is None

    def data(self, direction: Direction, data: bytes, time_ns: int) -> Iterator[Entry]:
        if self._given_up:
            return
        if self.session is not None:
            yield from _entries(self.session.receive(direction, data, time_ns))
            return
        self._held.append((direction, data, time_ns))
        said = [held for way, held, _ in self._held if way is direction]
        network = self.network or _network_in(said)
        if network is not None:
            self.session = self._make_session(network)
            held, self._held = self._held, []
            for each in held:
                yield from self.data(*each)
        elif sum(len(data) for _, data, _ in self._held) > UNDECIDED:
            self._given_up = True
            self._held.clear()

    def gap(self, direction: Direction, missing: int, time_ns: int) -> Iterator[Entry]:
        if self.session is not None:
            yield from _entries(self.session.gap(direction, missing, time_ns))

    def end(self, direction: Direction, time_ns: int) -> Iterator[Entry]:
        if direction in self._ended:
            return
        self._ended.add(direction)
        if self.session is not None:
            yield from _entries(self.session.end(direction, time_ns))


def _entries(passages: list[Passage]) -> Iterator[Entry]:
    return (each.entry for each in passages if each.entry is not None)


def _facts(packet: Packet | Section) -> dict[str, Any]:
    """Read what a writer of ours left in a packet or section."""
    for text in packet.custom:
        with suppress(msgspec.DecodeError):
            facts = msgspec.json.decode(text)
            if isinstance(facts, dict) and facts.get("schema") == SCHEMA:
                return facts
    return {}


def _named_network(section: Section) -> Network | None:
    name = _facts(section).get("network")
    try:
        return None if name is None else networks.get(name)
    except KeyError:
        return None


def _network_in(held: list[bytes]) -> Network | None:
    """Find the network whose frame begins in some bytes; raises UnknownNetwork if two share it."""
    found = _frame_pattern().search(b"".join(held))
    if found is None:
        return None
    known = networks.with_magic(found[0][:4])
    if len(known) > 1:
        names = " and ".join(network.id for network in known)
        raise UnknownNetwork(f"magic {found[0][:4].hex()} is that of {names}: say --network")
    return known[0]


def _frame_pattern() -> re.Pattern[bytes]:
    """Match a magic with a command behind it."""
    magics = b"|".join(re.escape(each.magic) for each in networks.all_networks().values())
    return re.compile(b"(?:" + magics + rb")[a-z0-9]{2,12}")
