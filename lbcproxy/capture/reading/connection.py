"""A TCP connection of a capture, on its way to being a session."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from lbcproxy import networks
from lbcproxy.capture.reading.read_stats import SessionReport
from lbcproxy.capture.tcp.stream_events import Closed, Opened
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import LbcproxyError
from lbcproxy.networks import Network
from lbcproxy.session import Delivery, Direction, End, EndCause, NodeState, Session, SessionInfo
from lbcproxy.session.end import OPEN

__all__ = ["Connection", "Room", "UnknownNetwork", "goes_out"]

UNDECIDED = 4096
"""Bytes of a connection that are looked at for the magic of a known network."""
IN_MIDDLE = 4 << 20
"""The same of a connection met in its middle, where the rest of a block may come first."""
LONGEST_MATCH = 16
MOST_OUTGOING = 64 << 20
"""Bytes of one piece that went out."""


class UnknownNetwork(LbcproxyError):
    """A file of others does not tell whose traffic it holds; the text names the candidates."""


class Room:
    """Bytes that may be held of all connections together whose network is not known yet."""

    def __init__(self, left: int = 64 << 20) -> None:
        self.left = left


class Connection:
    """Reads a connection with a session, which it makes once it knows the network.

    `came_in` is the direction that came in on this leg, if what went out stands on the other leg
    as well. `network` is given where it is known without looking.
    """

    def __init__(
        self,
        opened: Opened,
        make_session: Callable[[Network], Session],
        *,
        network: Network | None,
        came_in: Direction | None,
        upstream: str | None,
        room: Room,
    ) -> None:
        self.session: Session | None = None
        self.number: int | None = None
        self.network = network
        self.came_in = came_in
        self.upstream = upstream
        self.opened = opened
        self._make_session = make_session
        self._room = room
        self._most = UNDECIDED if opened.begun else IN_MIDDLE
        self._held: list[tuple[Direction, bytes | int, int]] = []
        self._size = 0
        self._seen = dict.fromkeys(Direction, b"")
        self.has_bytes = False
        """Whether anything was sent on it."""
        self._given_up = False
        self._ended: set[Direction] = set()
        self._end: End | None = None
        self._told: End | None = None  # what the capture says of it
        self._last_ns = opened.time_ns
        self._outgoing = bytearray()
        self.comments: dict[Direction, list[str]] = {direction: [] for direction in Direction}
        """What was written on packets, for the next message of each direction."""
        self.places = dict.fromkeys(Direction, 0)
        """How many bytes of each direction were before those to come, missing ones too."""

    @property
    def over(self) -> bool:
        """Whether both directions have ended."""
        return len(self._ended) == len(Direction)

    @property
    def unknown(self) -> bool:
        """Whether it is of no network that could be told."""
        return self.session is None and self.network is None

    @property
    def held(self) -> int:
        """Bytes that it holds of messages and pieces that are not whole yet."""
        return len(self._outgoing) + (0 if self.session is None else self.session.held)

    def forget_outgoing(self) -> None:
        """Hold nothing of a piece that goes out: what it replaced will be as if it was dropped."""
        self._outgoing.clear()

    def data(self, direction: Direction, data: bytes, time_ns: int) -> Iterator[Delivery]:
        """Read the next bytes of a direction."""
        self._last_ns = time_ns
        self.has_bytes = True
        self.places[direction] += len(data)
        if self.session is not None:
            yield from self.session.receive(direction, data, time_ns)
        elif not self._given_up:
            self._hold(direction, data, time_ns, len(data))
            seen = self._seen[direction] + data
            self._seen[direction] = seen[-LONGEST_MATCH:]
            yield from self._decide(self.network or _network_in(seen))

    def flush(self, direction: Direction, time_ns: int) -> Iterator[Delivery]:
        """Read no further what a direction has left unfinished: a piece ends here."""
        if self.session is not None:
            yield from self.session.end(direction, time_ns)

    def went_out(
        self, direction: Direction, data: bytes, time_ns: int, *, whole: bool
    ) -> bytes | None:
        """Take bytes that went out on this leg; give the piece that ends with them, if one does.

        What they mean is known from where they came in. They are read all the same: nodes agree on
        a version on each leg.
        """
        for _ in self.data(direction, data, time_ns):
            pass
        self._outgoing += data
        if not whole and len(self._outgoing) <= MOST_OUTGOING:
            return None
        piece = bytes(self._outgoing)
        self._outgoing.clear()
        return piece

    def injected(self, direction: Direction, piece: bytes, time_ns: int) -> Iterator[Delivery]:
        """Read a piece that no node has sent."""
        if self.session is not None:
            yield self.session.injected(direction, time_ns, piece, ())

    def gap(self, direction: Direction, missing: int, time_ns: int) -> Iterator[Delivery]:
        """Go on behind bytes that are not in the capture."""
        self._last_ns = time_ns
        self.places[direction] += max(missing, 0)  # it may be of unknown size
        if self.session is not None:
            yield from self.session.gap(direction, missing, time_ns)
        elif not self._given_up:
            self._hold(direction, missing, time_ns, 0)
            self._seen[direction] = b""
            self._most = IN_MIDDLE
            yield from self._decide(self.network)

    def end(
        self,
        direction: Direction,
        time_ns: int,
        closed: Closed | None,
        otherwise: End = OPEN,
        told: End | None = None,
    ) -> Iterator[Delivery]:
        """End a direction; `closed` says how, or `otherwise` if nobody closed it.

        `told` is why, where the capture itself says so.
        """
        self._told = self._told or told
        if closed is not None:
            self._last_ns = time_ns
            sender = Direction.TO_UPSTREAM if closed.from_client else Direction.TO_CLIENT
            if closed.reset:
                self._end = End(EndCause.RESET, sender)
            elif self._end is None:
                self._end = End(EndCause.CLOSED, sender)
        elif not self._ended:
            self._end = otherwise
        if direction not in self._ended:
            self._ended.add(direction)
            if self.session is not None:
                yield from self.session.end(direction, time_ns)
        if self.over:
            self._release()
            self._forget_maker()

    def facts(self, number: int, network: Network | None) -> SessionInfo:
        """Say between whom the session is; where only two are known, the server is the upstream."""
        client, server = self.opened.client, self.opened.server
        try:
            upstream = server if self.upstream is None else Endpoint.from_text(self.upstream)
        except ValueError:
            upstream = server  # the file says something else than HOST:PORT
        return SessionInfo(
            number=number,
            network="" if network is None else network.id,
            client=client,
            listen=server,
            upstream=upstream,
        )

    def report(self, number: int) -> SessionReport:
        """Tell of the session, when all of it has been read."""
        session = self.session
        client, upstream = (
            (NodeState(), NodeState()) if session is None else (session.client, session.upstream)
        )
        network = session.network if session is not None else self.network
        return SessionReport(
            number=number,
            network="" if network is None else network.id,
            client=self.opened.client,
            server=self.opened.server,
            upstream=self.upstream,
            begun=self.opened.begun,
            begun_ns=self.opened.time_ns,
            ended_ns=max(self._last_ns, self.opened.time_ns),  # a clock may be set back
            end=self._told or self._end or OPEN,
            missing=0 if session is None else session.missing,
            to_upstream=client.statistics(),
            to_client=upstream.statistics(),
        )

    def _hold(self, direction: Direction, what: bytes | int, time_ns: int, size: int) -> None:
        self._held.append((direction, what, time_ns))
        self._size += size
        self._room.left -= size

    def _decide(self, network: Network | None) -> Iterator[Delivery]:
        """Make the session and read what was held, or give up if too much is."""
        if network is not None:
            held = self._release()
            self.session = self._make_session(network)
            self._forget_maker()
            for direction, what, time_ns in held:
                if isinstance(what, bytes):
                    yield from self.session.receive(direction, what, time_ns)
                else:
                    yield from self.session.gap(direction, what, time_ns)
        elif self._size > self._most or self._room.left < 0:
            self._given_up = True
            self._release()

    def _release(self) -> list[tuple[Direction, bytes | int, int]]:
        held, self._held = self._held, []
        self._room.left += self._size
        self._size = 0
        return held

    def _forget_maker(self) -> None:
        """Let go of what knows this connection: a cycle would wait for the collector."""
        self._make_session = _too_late


def _too_late(network: Network) -> Session:
    raise AssertionError(f"a session of {network.id} is made once")  # pragma: no cover


def _network_in(data: bytes) -> Network | None:
    """Find the network whose frame begins in some bytes; raises UnknownNetwork if two share it."""
    found = _FRAME.search(data)
    if found is None:
        return None
    magic = found[0][:4]
    network = networks.meant_by(magic)
    if network is None:
        names = " and ".join(each.id for each in networks.with_magic(magic))
        raise UnknownNetwork(f"magic {magic.hex()} is that of {names}: say --network")
    return network


def _frame_pattern() -> re.Pattern[bytes]:
    """Match a magic with a command behind it."""
    magics = b"|".join(re.escape(each.magic) for each in networks.all_networks().values())
    return re.compile(b"(?:" + magics + rb")[a-z0-9]{2,12}")


_FRAME = _frame_pattern()


def goes_out(connection: Connection, direction: Direction) -> bool:
    """Return whether what stands on this leg in a direction came in on the other."""
    return connection.came_in is not None and connection.came_in is not direction
