"""A TCP connection of a capture, until and after its session is known."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from lbcproxy.capture.dropped import Dropped
from lbcproxy.capture.reading.frame_start import MAX_FRAME_START, network_in, network_with
from lbcproxy.capture.session_report import SessionReport
from lbcproxy.capture.tcp.stream_events import Closed, Opened
from lbcproxy.endpoint import Endpoint
from lbcproxy.networks import Network
from lbcproxy.session import (
    Delivery,
    Direction,
    End,
    EndCause,
    LegTransport,
    NodeState,
    Session,
    SessionInfo,
)
from lbcproxy.session.end import OPEN

if TYPE_CHECKING:
    from lbcproxy.capture.reading.decryption import Decryption
    from lbcproxy.transport.key_log import KeyLog, LoggedSecret

__all__ = ["CapturedConnection", "SharedState"]

MAX_BUFFERED = 256 << 20
"""Bytes of incomplete messages, of all connections together."""
CHECK_BUFFERED_EVERY = 8 << 20
"""Bytes that are read between two checks of that bound."""
MAX_UNDECIDED = 4096
"""Bytes of a connection that are searched for the magic of a known network."""
MAX_UNDECIDED_IN_MIDDLE = 4 << 20
"""The same if the start of the connection is missing: the rest of a block may come first."""
MAX_COMMENTS = 100
"""Comments that wait for a message of one direction to be complete."""
MAX_OUTGOING = 64 << 20
"""Bytes of one message that was sent on this leg."""


class BufferLimit:
    """Bounds the bytes of incomplete messages of all connections together."""

    def __init__(self) -> None:
        self._unchecked = 0

    def is_due(self, size: int) -> bool:
        """Count bytes that were read, and return whether it is time to look for excess."""
        self._unchecked += size
        return self._unchecked > CHECK_BUFFERED_EVERY

    def excess(self, connections: Collection[CapturedConnection]) -> Iterator[CapturedConnection]:
        """Return the connections whose buffers have to be emptied, the largest first."""
        self._unchecked = 0
        total = sum(each.buffered_bytes for each in connections)
        if total <= MAX_BUFFERED:
            return
        for connection in sorted(connections, key=lambda each: -each.buffered_bytes):
            total -= connection.buffered_bytes
            yield connection
            if total <= MAX_BUFFERED // 2:
                return


class SharedState:
    """What all connections of a capture share.

    Args:
        key_log: Secrets of encrypted connections; None to decrypt nothing.
        dropped: Counts what cannot be decrypted.
        undecided_budget: Bytes that they may buffer while their networks are not known.
    """

    def __init__(
        self,
        key_log: KeyLog | None = None,
        dropped: Dropped | None = None,
        *,
        undecided_budget: int = 64 << 20,
    ) -> None:
        self.key_log = key_log
        self.dropped = Dropped() if dropped is None else dropped
        self.undecided_budget = undecided_budget
        self.limit = BufferLimit()


class CapturedConnection:
    """Reads a connection with a session, which it makes once it knows the network.

    Args:
        opened: The event that began the connection.
        make_session: Makes the session; called at most once.
        network: The network, if it is known without looking at the bytes.
        received: The direction that the proxy received on this leg, if what it sent on the leg is
            to be paired with what it received on the other one.
        upstream: The upstream as HOST:PORT, if the capture names it.
        shared: What all connections share.
    """

    def __init__(
        self,
        opened: Opened,
        make_session: Callable[[Network], Session],
        *,
        network: Network | None,
        received: Direction | None,
        upstream: str | None,
        shared: SharedState,
    ) -> None:
        self.session: Session | None = None
        self.number: int | None = None
        self.network = network
        self.received = received
        self.upstream = upstream
        self.opened = opened
        self._make_session = make_session
        self._shared = shared
        self._input: Session | Decryption | None = None
        """Reads the bytes; the session itself, unless they are encrypted."""
        self._key_log = shared.key_log if opened.begun else None
        """Where the client's first bytes are still to be looked for."""
        self._start = b""
        """Those bytes, as far as they have come."""
        self._logged: LoggedSecret | None = None
        self.transport: LegTransport | None = None
        """What it was decrypted from; None if it was not."""
        self._max_undecided = MAX_UNDECIDED if opened.begun else MAX_UNDECIDED_IN_MIDDLE
        # Bytes, or the size of a gap, each with direction and time.
        self._buffered: list[tuple[Direction, bytes | int, int]] = []
        self._size = 0
        self._seen = dict.fromkeys(Direction, b"")
        self.has_bytes = False
        """Whether anything was sent on it."""
        self._gave_up = False
        self._ended: set[Direction] = set()
        self._end: End | None = None
        self._stated_end: End | None = None  # what the capture says
        self._last_ns = opened.time_ns
        self._outgoing = bytearray()
        self._comments: dict[Direction, list[str]] = {direction: [] for direction in Direction}
        self.offsets = dict.fromkeys(Direction, 0)
        """How many bytes of each direction came before the next one, including missing bytes."""

    @property
    def has_ended(self) -> bool:
        """Whether both directions have ended."""
        return len(self._ended) == len(Direction)

    @property
    def is_undecided(self) -> bool:
        """Whether its network is not known."""
        return self.session is None and self.network is None

    @property
    def is_decrypted(self) -> bool:
        """Whether it is decrypted, or may be once more of it has come."""
        return self._logged is not None or self._key_log is not None

    @property
    def buffered_bytes(self) -> int:
        """Bytes of messages that are not complete yet."""
        return len(self._outgoing) + (0 if self.session is None else self.session.buffered_bytes)

    def is_outgoing(self, direction: Direction) -> bool:
        """Whether the proxy sent this direction on this leg, and received it on the other."""
        return self.received is not None and self.received is not direction

    def forget_outgoing(self) -> None:
        """Discard an incomplete outgoing message: what it replaced counts as dropped."""
        self._outgoing.clear()

    @property
    def waiting_comments(self) -> int:
        """How many comments on packets no message has taken yet."""
        return sum(map(len, self._comments.values()))

    def add_comments(self, direction: Direction, comments: list[object]) -> int:
        """Keep the comments on a packet for the message that its bytes complete.

        Return how many of them were discarded because too many wait.
        """
        room = MAX_COMMENTS - len(self._comments[direction])
        self._comments[direction] += map(str, comments[:room])
        return max(0, len(comments) - room)

    def take_comments(self, direction: Direction) -> tuple[str, ...]:
        """Return the comments that wait for a message of this direction, once."""
        waiting = self._comments[direction]
        if not waiting:
            return ()
        self._comments[direction] = []
        return tuple(waiting)

    def data(self, direction: Direction, data: bytes, time_ns: int) -> Iterable[Delivery]:
        """Read the next bytes of a direction."""
        self._last_ns = time_ns
        self.has_bytes = True
        self.offsets[direction] += len(data)
        if self._input is not None:
            return self._input.receive(direction, data, time_ns)
        if self._gave_up:
            return ()
        self._buffer(direction, data, time_ns, len(data))
        if self._key_log is not None and direction is Direction.TO_UPSTREAM:
            self._find_secret(self._key_log, data)
        seen = self._seen[direction] + data
        self._seen[direction] = seen[-MAX_FRAME_START:]
        known = self.network if self._key_log is None else None
        return self._decide(known or network_in(seen))

    def flush(self, direction: Direction, time_ns: int) -> Iterator[Delivery]:
        """Return what a direction has left incomplete: nothing that follows belongs to it."""
        if self.session is not None:
            yield from self.session.end(direction, time_ns)

    def sent(
        self, direction: Direction, data: bytes, time_ns: int, *, complete: bool
    ) -> bytes | None:
        """Read bytes that the proxy sent on this leg, and return the message that they complete.

        Their meaning is known from where they were received. They are decoded anyway, since
        nodes agree on a version on each leg.
        """
        for _ in self.data(direction, data, time_ns):
            pass
        self._outgoing += data
        if not complete and len(self._outgoing) <= MAX_OUTGOING:
            return None
        message = bytes(self._outgoing)
        self._outgoing.clear()
        return message

    def injected(self, direction: Direction, message: bytes, time_ns: int) -> Iterator[Delivery]:
        """Read a message that no node has sent."""
        if self.session is not None:
            yield self.session.inject(direction, time_ns, message, ())

    def gap(self, direction: Direction, missing: int, time_ns: int) -> Iterator[Delivery]:
        """Skip bytes that are not in the capture."""
        self._last_ns = time_ns
        self.offsets[direction] += max(missing, 0)  # the size may be unknown
        if self._input is not None:
            yield from self._input.gap(direction, missing, time_ns)
        elif not self._gave_up:
            self._buffer(direction, missing, time_ns, 0)
            self._seen[direction] = b""
            self._max_undecided = MAX_UNDECIDED_IN_MIDDLE
            yield from self._decide(self.network)

    def end(
        self,
        direction: Direction,
        time_ns: int,
        closed: Closed | None,
        otherwise: End = OPEN,
        stated: End | None = None,
    ) -> Iterator[Delivery]:
        """End a direction, and return what that completes if this leg received the direction.

        `closed` says how; `otherwise` is the end if nobody closed it. `stated` is the end that the
        capture itself states, which takes precedence.
        """
        self._stated_end = self._stated_end or stated
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
            if self._input is None and self.network is not None:  # no key will come any more
                yield from self._decide(self.network)
            deliveries = [] if self._input is None else self._input.end(direction, time_ns)
            if not self.is_outgoing(direction):
                yield from deliveries
        if self.has_ended:
            self._release()
            self._forget_maker()

    def session_info(self, number: int, network: Network | None) -> SessionInfo:
        """Return the endpoints of the session; if only two are known, the server is upstream."""
        client, server = self.opened.client, self.opened.server
        try:
            upstream = server if self.upstream is None else Endpoint.from_text(self.upstream)
        except ValueError:
            upstream = server  # the file has something other than HOST:PORT
        return SessionInfo(
            number=number,
            network="" if network is None else network.id,
            client=client,
            listen=server,
            upstream=upstream,
        )

    def report(self, number: int) -> SessionReport:
        """Return the report on the session, once all of the connection has been read."""
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
            end=self._stated_end or self._end or OPEN,
            missing=0 if session is None else session.missing,
            to_upstream=client.statistics(),
            to_client=upstream.statistics(),
        )

    def _buffer(self, direction: Direction, item: bytes | int, time_ns: int, size: int) -> None:
        self._buffered.append((direction, item, time_ns))
        self._size += size
        self._shared.undecided_budget -= size

    def _decide(self, network: Network | None) -> Iterator[Delivery]:
        """Make the session and read what is buffered, or give up if that is too much."""
        if network is not None:
            buffered = self._release()
            self.session = session = self._make_session(network)
            reader: Session | Decryption = session
            if self._logged is not None:
                from lbcproxy.capture.reading.decryption import Decryption

                reader = Decryption(session, self._logged, self._shared.dropped)
                self.transport = reader.transport
            self._input = reader
            self._forget_maker()
            for direction, item, time_ns in buffered:
                if isinstance(item, bytes):
                    yield from reader.receive(direction, item, time_ns)
                else:
                    yield from reader.gap(direction, item, time_ns)
        elif self._size > self._max_undecided or self._shared.undecided_budget < 0:
            self._gave_up = True
            self._release()

    def _find_secret(self, key_log: KeyLog, data: bytes) -> None:
        """Look for the connection in the key log, as soon as its first bytes are there."""
        from lbcproxy.transport.curve import PUBLIC_KEY_SIZE

        self._start += data
        if len(self._start) < PUBLIC_KEY_SIZE:
            return
        self._logged, self._key_log, self._start = key_log.find(self._start), None, b""
        if self._logged is not None:
            self.network = self.network or network_with(self._logged.magic)

    def _release(self) -> list[tuple[Direction, bytes | int, int]]:
        buffered, self._buffered = self._buffered, []
        self._shared.undecided_budget += self._size
        self._size = 0
        return buffered

    def _forget_maker(self) -> None:
        """Drop the reference to what refers to this connection: a cycle would outlive it."""
        self._make_session = _too_late


def _too_late(network: Network) -> Session:
    raise AssertionError(f"a session of {network.id} is made once")  # pragma: no cover
