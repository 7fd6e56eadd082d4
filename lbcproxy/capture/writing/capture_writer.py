"""Sessions as pcapng that Wireshark opens: raw IP with TCP that never was on a wire.

The writer does no I/O: each call makes the blocks of what happened and gives them to `write` as
one bytes, so that a file is whole after every call. Put behind one another, the bytes are a
section; a file that ends with a whole block may be continued with another writer's.

Each leg of a session is a TCP connection, on the interface named for the leg. What passed without
remark is put together to packets of up to 65,495 bytes; a piece with a note has packets of its
own, and the note stands on the last, as a comment for people and as JSON for lbcproxy's reader.

The receiver acknowledges now and then, as TCP does. Without that, analysis would keep a list of
all that was ever sent, and complain once more than the window of 1 GiB is under way.
"""

import bisect
import itertools
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from lbcproxy import __version__
from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.ip.segments import LINK_RAW, MAX_PAYLOAD, Route
from lbcproxy.capture.ip.synthetic import host_name_annotations
from lbcproxy.capture.packet import ACK, FIN, PSH, RST, SYN, Leg
from lbcproxy.capture.writing.notes import Note, comment_of, custom_of, note_options
from lbcproxy.capture.writing.pcapng_blocks import build_block, build_options
from lbcproxy.endpoint import Endpoint
from lbcproxy.session.direction import Direction
from lbcproxy.session.entry import UNKNOWN_SIZE

__all__ = ["LAST_NS", "CaptureWriter", "Note", "Piece"]

# A flow's first sequence number comes from the clock, in steps of 4 microseconds as RFC 793 has
# it. With 0 each time, Wireshark takes a later connection on the same ports for a repetition.
_SEQUENCE_STEP_NS = 4_000

# How much one side sends before the other acknowledges on its own.
_MAX_UNACKNOWLEDGED_BYTES = 2**20
_MAX_UNACKNOWLEDGED_PACKETS = 256
_UNKNOWN_JUMP = 2**31  # in sequence numbers, for a gap of unknown size

_INTERFACES = {Leg.CLIENT: 0, Leg.UPSTREAM: 1}
_OPTION_NAME = 2
_OPTION_APPLICATION = 4
_OPTION_FLAGS = 2
_INBOUND = struct.pack("<HHI", _OPTION_FLAGS, 4, 1)
_OUTBOUND = struct.pack("<HHI", _OPTION_FLAGS, 4, 2)
_END_OF_OPTIONS = bytes(4)
_NANOSECONDS = b"\x09"
_UNKNOWN_LENGTH = -1
LAST_NS = 2**64 - 1
"""The last time that can be written, in the year 2554; a file of others may claim more."""
_PACKET = struct.Struct("<7I")
_PADDING = (b"", bytes(3), bytes(2), bytes(1))


class Piece(msgspec.Struct, frozen=True, gc=False):
    """Bytes that belong together, a message as a rule, and what is said of them if anything."""

    raw: bytes
    note: Note | None = None
    ends: Sequence[int] = ()
    """Where in it messages end, if it is several; the last ends with it. They have no note."""
    missing: int = 0
    """How many bytes before it are not known, or `UNKNOWN_SIZE`; such a piece has a note."""


class _Half:
    """One direction of a flow."""

    __slots__ = (
        *("ended", "flags", "position", "route"),
        *("sequence", "unacked_bytes", "unacked_packets"),
    )

    def __init__(self, route: Route, flags: bytes, sequence: int) -> None:
        self.route = route
        self.flags = flags
        self.sequence = sequence
        self.ended = False
        self.position = 0  # bytes that were before those to come, in earlier files too
        self.unacked_bytes = 0
        self.unacked_packets = 0


class _Flow:
    """One leg of a session while it is open."""

    __slots__ = ("ends", "halves", "interface")

    def __init__(self, leg: Leg, source: Endpoint, target: Endpoint, time_ns: int) -> None:
        there, back = Route(source, target), Route(target, source)
        self.ends = there.ends
        self.interface = _INTERFACES[leg]
        arriving, leaving = (_INBOUND, _OUTBOUND) if leg is Leg.CLIENT else (_OUTBOUND, _INBOUND)
        sequence = time_ns // _SEQUENCE_STEP_NS & 0xFFFFFFFF
        # On both legs the one that connects is on the client's side.
        self.halves = {
            Direction.TO_UPSTREAM: _Half(there, arriving, sequence),
            Direction.TO_CLIENT: _Half(back, leaving, sequence),
        }

    def progress(self) -> list[tuple[int, int, int]]:
        """Return how far both directions are."""
        return [
            (half.sequence, half.unacked_bytes, half.unacked_packets)
            for half in self.halves.values()
        ]

    def go_back(self, progress: list[tuple[int, int, int]]) -> None:
        """Be as far again as before."""
        for half, values in zip(self.halves.values(), progress, strict=True):
            half.sequence, half.unacked_bytes, half.unacked_packets = values


class _Blocks:
    """The blocks of one call, gathered in parts and joined once."""

    __slots__ = ("parts", "time_ns")

    def __init__(self, time_ns: int) -> None:
        self.time_ns = min(max(time_ns, 0), LAST_NS)
        self.parts: list[bytes | memoryview] = []

    def packet(
        self,
        flow: _Flow,
        direction: Direction,
        flags: int,
        payload: Sequence[bytes | memoryview] = (),
        options: bytes = b"",
    ) -> None:
        """Append a packet and count it in its flow."""
        half, other = flow.halves[direction], flow.halves[direction.other]
        length = sum(map(len, payload))
        acknowledgment = other.sequence if flags & ACK else 0
        headers = half.route.headers(half.sequence, acknowledgment, flags, length)
        size = len(headers) + length
        padding = _PADDING[size % 4]
        tail = half.flags + options + _END_OF_OPTIONS
        total = 32 + size + len(padding) + len(tail)
        high, low = divmod(self.time_ns, 1 << 32)
        self.parts.append(
            _PACKET.pack(pcapng.ENHANCED_PACKET, total, flow.interface, high, low, size, size)
        )
        self.parts.append(headers)
        self.parts.extend(payload)
        self.parts.append(padding + tail + total.to_bytes(4, "little"))

        counted = length + (1 if flags & (SYN | FIN) else 0)
        half.sequence = (half.sequence + counted) & 0xFFFFFFFF
        half.position += length
        half.unacked_bytes += counted
        half.unacked_packets += 1 if counted else 0
        if flags & ACK:
            other.unacked_bytes = other.unacked_packets = 0
        if (
            half.unacked_bytes >= _MAX_UNACKNOWLEDGED_BYTES
            or half.unacked_packets >= _MAX_UNACKNOWLEDGED_PACKETS
        ):
            self.packet(flow, direction.other, ACK)


class CaptureWriter:
    """Writes what happens in sessions as it happens, in the order of the calls.

    `comments` stand at the beginning of the section in place of the usual one.

    Times are nanoseconds since 1970 and should not go back. What the calls do not allow, such as
    data of a direction that has ended, raises ValueError and writes nothing.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        *,
        network: str,
        legs: str,
        metadata: Mapping[str, object],
        comments: Sequence[str] = (),
    ) -> None:
        self._write = write
        self._flows: dict[tuple[int, Leg], _Flow] = {}
        self._ends: set[frozenset[bytes]] = set()
        both = "both legs" if legs == "both" else f"the {legs} leg"
        own = f"{network}, {both} of each session, recorded by lbcproxy {__version__}"
        section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, _UNKNOWN_LENGTH) + build_options(
            (_OPTION_APPLICATION, f"lbcproxy {__version__}".encode()),
            *((pcapng.OPTION_COMMENT, comment_of(text)) for text in comments or [own]),
            (pcapng.OPTION_CUSTOM, custom_of({"network": network, "legs": legs, **metadata})),
        )
        blocks = [build_block(pcapng.SECTION, section + _END_OF_OPTIONS)]
        for leg in _INTERFACES:
            interface = struct.pack("<HHI", LINK_RAW, 0, 0) + build_options(
                (_OPTION_NAME, f"{leg}-leg".encode()), (pcapng.OPTION_TIME_UNIT, _NANOSECONDS)
            )
            blocks.append(build_block(pcapng.INTERFACE, interface + _END_OF_OPTIONS))
        write(b"".join(blocks))

    def open(
        self,
        session: int,
        leg: Leg,
        source: Endpoint,
        target: Endpoint,
        time_ns: int,
        facts: Mapping[str, object],
        position: Mapping[Direction, int] | None = None,
    ) -> None:
        """Record that a leg was connected.

        `source` is who connects; `facts` are kept with the first packet. `position` is given of a
        leg that goes on after another file: how many bytes of each direction were before.
        """
        if (session, leg) in self._flows:
            raise ValueError(f"session {session} already has an open {leg} leg")
        text = f"session {session} {leg} leg {source} -> {target}"
        flow, written = _Flow(leg, source, target, time_ns), source
        if len(flow.ends) == 1 or flow.ends in self._ends:
            written = _stand_in(session, leg, source)
            flow = _Flow(leg, written, target, time_ns)
        for direction, at in (position or {}).items():
            flow.halves[direction].position = at
        named = host_name_annotations(source, target, (written, target))
        said = {"session": session, "leg": leg.value, **facts, **named}
        if position is not None:
            said["position"] = position
        options = note_options(Note(text, said))
        blocks = _Blocks(time_ns)
        blocks.packet(flow, Direction.TO_UPSTREAM, SYN, options=options)
        blocks.packet(flow, Direction.TO_CLIENT, SYN | ACK)
        blocks.packet(flow, Direction.TO_UPSTREAM, ACK)
        self._flows[session, leg] = flow
        self._ends.add(flow.ends)
        self._write(b"".join(blocks.parts))

    def data(
        self, session: int, leg: Leg, direction: Direction, time_ns: int, pieces: Sequence[Piece]
    ) -> None:
        """Record that bytes went over a leg.

        A note on a piece without bytes has a packet without bytes, which Wireshark takes for a
        repeated acknowledgment if the other side was silent since the last one.
        """
        flow = self._flow(session, leg, direction)
        before = flow.progress()
        try:
            blocks = self._data_blocks(flow, direction, time_ns, pieces)
            joined = b"".join(blocks.parts)
        except BaseException:
            flow.go_back(before)  # nothing is written: there is no gap
            raise
        if joined:
            self._write(joined)

    def skip(self, session: int, leg: Leg, direction: Direction, size: int) -> None:
        """Leave a gap for bytes that went over a leg and could not be recorded."""
        half = self._flow(session, leg, direction).halves[direction]
        half.sequence = (half.sequence + size) & 0xFFFFFFFF

    def _data_blocks(
        self, flow: _Flow, direction: Direction, time_ns: int, pieces: Sequence[Piece]
    ) -> _Blocks:
        blocks = _Blocks(time_ns)
        run: list[bytes] = []
        size = 0
        for piece in _that_fit(pieces):
            length = len(piece.raw)
            alone = piece.note is not None or length > MAX_PAYLOAD
            if run and (alone or size + length > MAX_PAYLOAD):
                blocks.packet(flow, direction, PSH | ACK, run)
                run, size = [], 0
            if alone:
                _append_alone(blocks, flow, direction, piece)
            elif length:
                run.append(piece.raw)
                size += length
        if run:
            blocks.packet(flow, direction, PSH | ACK, run)
        return blocks

    def finish(
        self,
        session: int,
        leg: Leg,
        direction: Direction,
        time_ns: int,
        note: Note | None = None,
    ) -> None:
        """Record that a direction of a leg ended in order (FIN).

        The leg is forgotten when both did.
        """
        flow = self._flow(session, leg, direction)
        blocks = _Blocks(time_ns)
        blocks.packet(flow, direction, FIN | ACK, options=note_options(note))
        blocks.packet(flow, direction.other, ACK)
        flow.halves[direction].ended = True
        if flow.halves[direction.other].ended:
            self._forget(session, leg)
        self._write(b"".join(blocks.parts))

    def reset(
        self,
        session: int,
        leg: Leg,
        direction: Direction,
        time_ns: int,
        note: Note | None = None,
    ) -> None:
        """Record that the sender in this direction broke the leg off (RST), and forget the leg.

        It may do so after the direction ended in order.
        """
        flow = self._flow(session, leg, None)
        blocks = _Blocks(time_ns)
        blocks.packet(flow, direction, RST | ACK, options=note_options(note))
        self._forget(session, leg)
        self._write(b"".join(blocks.parts))

    def position(self, session: int, leg: Leg) -> dict[Direction, int] | None:
        """Return how many bytes of each direction of a leg there were; None if it is not open."""
        flow = self._flows.get((session, leg))
        if flow is None:
            return None
        return {direction: half.position for direction, half in flow.halves.items()}

    def leave(self, session: int, leg: Leg) -> None:
        """Forget a leg that goes on: nothing is written of its end, nor of what comes."""
        self._forget(session, leg)

    def _forget(self, session: int, leg: Leg) -> None:
        self._ends.discard(self._flows.pop((session, leg)).ends)

    def _flow(self, session: int, leg: Leg, direction: Direction | None) -> _Flow:
        """Find the open flow of a leg; its direction must not have ended, if one is given."""
        flow = self._flows.get((session, leg))
        if flow is None:
            raise ValueError(f"session {session} has no open {leg} leg")
        if direction is not None and flow.halves[direction].ended:
            raise ValueError(f"session {session} has ended {direction} on its {leg} leg")
        return flow


def _stand_in(session: int, leg: Leg, source: Endpoint) -> Endpoint:
    """Make up an address for a flow whose own is taken.

    Two open flows have the same addresses where one proxy's upstream leg is another's client leg in
    the same file, or where little is known of who they are between. As one connection neither is
    readable. The note has the true address.
    """
    number = session * len(_INTERFACES) + _INTERFACES[leg] + 1
    return Endpoint(f"0.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", source.port)


def _that_fit(pieces: Sequence[Piece]) -> Iterable[Piece]:
    """Cut pieces of several messages that no packet could hold, where messages end."""
    if all(len(piece.raw) <= MAX_PAYLOAD for piece in pieces):
        return pieces
    return itertools.chain.from_iterable(map(_cut, pieces))


def _cut(piece: Piece) -> Iterator[Piece]:
    begin, ends = 0, piece.ends or (len(piece.raw),)
    if len(ends) == 1:
        yield piece
        return
    while begin < len(piece.raw):
        # The last message that ends in this packet, or one that is longer than a packet.
        last = bisect.bisect_right(ends, begin + MAX_PAYLOAD) - 1
        last += last < 0 or ends[last] <= begin
        yield Piece(piece.raw[begin : ends[last]])
        begin = ends[last]


def _append_alone(blocks: _Blocks, flow: _Flow, direction: Direction, piece: Piece) -> None:
    """Append a piece in packets of its own, its note on the last."""
    options = note_options(piece.note)
    half = flow.halves[direction]
    missing = _UNKNOWN_JUMP if piece.missing == UNKNOWN_SIZE else piece.missing
    half.sequence = (half.sequence + missing) & 0xFFFFFFFF
    half.position += max(piece.missing, 0)
    view = memoryview(piece.raw)
    # Where the last packet begins; a piece without bytes has one packet all the same.
    last = max(len(view) - 1, 0) // MAX_PAYLOAD * MAX_PAYLOAD
    for start in range(0, last, MAX_PAYLOAD):
        blocks.packet(flow, direction, ACK, [view[start : start + MAX_PAYLOAD]])
    blocks.packet(flow, direction, PSH | ACK, [view[last:]], options)
    if missing:
        # What follows is acknowledged at once, so that a reader believes the new numbers.
        half.unacked_bytes = _MAX_UNACKNOWLEDGED_BYTES
