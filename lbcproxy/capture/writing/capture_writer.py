"""Sessions as pcapng that Wireshark opens: raw IP with synthetic TCP.

The writer does no I/O. Each call builds the blocks of what happened and passes them to `write` as
one bytes object, so a file is intact after every call. Concatenated, the bytes are a section. A
file that ends with a complete block can be continued by another writer.

Each leg of a session is a TCP connection, on the interface named for the leg. Bytes without a note
are joined to packets of up to 65,495 bytes. A chunk with a note has packets of its own; the note is
on the last, as a comment for people and as JSON for lbcproxy's reader.

The receiver acknowledges now and then, as TCP does. Otherwise analysers would keep a list of
everything ever sent, and complain once more than the window of 1 GiB is in flight.
"""

import struct
from collections.abc import Callable, Mapping, Sequence

from lbcproxy import __version__
from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.ip.segments import LINK_RAW, MAX_PAYLOAD
from lbcproxy.capture.ip.synthetic import host_name_annotations
from lbcproxy.capture.packet import ACK, FIN, PSH, RST, SYN, Leg
from lbcproxy.capture.writing.chunks import Chunk, split_to_fit
from lbcproxy.capture.writing.flows import (
    END_OF_OPTIONS,
    INTERFACES,
    MAX_UNACKNOWLEDGED_BYTES,
    Flow,
    PacketBlocks,
)
from lbcproxy.capture.writing.notes import PacketNote, comment_of, custom_of, note_options
from lbcproxy.capture.writing.pcapng_blocks import build_block, build_options
from lbcproxy.endpoint import Endpoint
from lbcproxy.session.direction import Direction
from lbcproxy.session.entry import UNKNOWN_SIZE

__all__ = ["CaptureWriter"]

_UNKNOWN_JUMP = 2**31  # in sequence numbers, for a gap of unknown size

_OPTION_NAME = 2
_OPTION_APPLICATION = 4
_NANOSECONDS = b"\x09"
_UNKNOWN_LENGTH = -1


class CaptureWriter:
    """Writes what happens in sessions, in the order of the calls.

    Times are nanoseconds since 1970 and should not go back. Invalid calls, such as data of a
    direction that has ended, raise ValueError and write nothing.

    Args:
        write: Called with the bytes of the file, in order.
        network: The network's id.
        legs: `client` or `both`, to be stored in the file.
        metadata: More to be stored at the start of the section.
        comments: Comments of the section, in place of the default one.
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
        self._flows: dict[tuple[int, Leg], Flow] = {}
        self._ends: set[frozenset[bytes]] = set()
        described = "both legs" if legs == "both" else f"the {legs} leg"
        own = f"{network}, {described} of each session, recorded by lbcproxy {__version__}"
        section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, _UNKNOWN_LENGTH) + build_options(
            (_OPTION_APPLICATION, f"lbcproxy {__version__}".encode()),
            *((pcapng.OPTION_COMMENT, comment_of(text)) for text in comments or [own]),
            (pcapng.OPTION_CUSTOM, custom_of({"network": network, "legs": legs, **metadata})),
        )
        blocks = [build_block(pcapng.SECTION, section + END_OF_OPTIONS)]
        for leg in INTERFACES:
            interface = struct.pack("<HHI", LINK_RAW, 0, 0) + build_options(
                (_OPTION_NAME, f"{leg}-leg".encode()), (pcapng.OPTION_TIME_UNIT, _NANOSECONDS)
            )
            blocks.append(build_block(pcapng.INTERFACE, interface + END_OF_OPTIONS))
        write(b"".join(blocks))

    def open(
        self,
        session: int,
        leg: Leg,
        source: Endpoint,
        target: Endpoint,
        time_ns: int,
        fields: Mapping[str, object],
        position: Mapping[Direction, int] | None = None,
    ) -> None:
        """Record that a leg was connected.

        Args:
            session: The session's number.
            leg: The leg.
            source: The address that connects.
            target: The address that it connects to.
            time_ns: Nanoseconds since 1970.
            fields: What the note on the first packet says.
            position: For a leg continued from another file: the bytes of each direction so far.
        """
        if (session, leg) in self._flows:
            raise ValueError(f"session {session} already has an open {leg} leg")
        text = f"session {session} {leg} leg {source} -> {target}"
        flow, shown_source = Flow(leg, source, target, time_ns), source
        if len(flow.ends) == 1 or flow.ends in self._ends:
            shown_source = _substitute_address(session, leg, source)
            flow = Flow(leg, shown_source, target, time_ns)
        for direction, size in (position or {}).items():
            flow.halves[direction].position = size
        named = host_name_annotations(source, target, (shown_source, target))
        noted = {"session": session, "leg": leg.value, **fields, **named}
        if position is not None:
            noted["position"] = position
        options = note_options(PacketNote(text, noted))
        blocks = PacketBlocks(time_ns)
        blocks.packet(flow, Direction.TO_UPSTREAM, SYN, options=options)
        blocks.packet(flow, Direction.TO_CLIENT, SYN | ACK)
        blocks.packet(flow, Direction.TO_UPSTREAM, ACK)
        self._flows[session, leg] = flow
        self._ends.add(flow.ends)
        self._write(b"".join(blocks.parts))

    def data(
        self, session: int, leg: Leg, direction: Direction, time_ns: int, chunks: Sequence[Chunk]
    ) -> None:
        """Record that bytes were sent over a leg.

        A note on a chunk without bytes has an empty packet. Wireshark takes it for a duplicate
        acknowledgment if the other side was silent since the last one.
        """
        flow = self._flow(session, leg, direction)
        before = flow.progress()
        try:
            blocks = self._data_blocks(flow, direction, time_ns, chunks)
            joined = b"".join(blocks.parts)
        except BaseException:
            flow.restore(before)  # nothing is written, so there is no gap
            raise
        if joined:
            self._write(joined)

    def skip(self, session: int, leg: Leg, direction: Direction, size: int) -> None:
        """Leave a gap for bytes that were sent over a leg and could not be recorded."""
        half = self._flow(session, leg, direction).halves[direction]
        half.sequence = (half.sequence + size) & 0xFFFFFFFF
        half.position += size

    def _data_blocks(
        self, flow: Flow, direction: Direction, time_ns: int, chunks: Sequence[Chunk]
    ) -> PacketBlocks:
        blocks = PacketBlocks(time_ns)
        run: list[bytes] = []
        size = 0
        for chunk in split_to_fit(chunks):
            length = len(chunk.raw)
            alone = chunk.note is not None or length > MAX_PAYLOAD
            if run and (alone or size + length > MAX_PAYLOAD):
                blocks.packet(flow, direction, PSH | ACK, run)
                run, size = [], 0
            if alone:
                _append_alone(blocks, flow, direction, chunk)
            elif length:
                run.append(chunk.raw)
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
        note: PacketNote | None = None,
    ) -> None:
        """Record that a direction of a leg ended in order (FIN).

        The leg is forgotten once both have.
        """
        flow = self._flow(session, leg, direction)
        blocks = PacketBlocks(time_ns)
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
        note: PacketNote | None = None,
    ) -> None:
        """Record that the sender in this direction reset the leg (RST), and forget the leg.

        It may do so after the direction ended in order.
        """
        flow = self._flow(session, leg, None)
        blocks = PacketBlocks(time_ns)
        blocks.packet(flow, direction, RST | ACK, options=note_options(note))
        self._forget(session, leg)
        self._write(b"".join(blocks.parts))

    def position(self, session: int, leg: Leg) -> dict[Direction, int] | None:
        """Return how many bytes each direction of a leg has had; None if it is not open."""
        flow = self._flows.get((session, leg))
        if flow is None:
            return None
        return {direction: half.position for direction, half in flow.halves.items()}

    def leave(self, session: int, leg: Leg) -> None:
        """Forget a leg that is still open: neither its end nor more data is written."""
        self._forget(session, leg)

    def _forget(self, session: int, leg: Leg) -> None:
        self._ends.discard(self._flows.pop((session, leg)).ends)

    def _flow(self, session: int, leg: Leg, direction: Direction | None) -> Flow:
        """Return the open flow of a leg; a given direction must not have ended."""
        flow = self._flows.get((session, leg))
        if flow is None:
            raise ValueError(f"session {session} has no open {leg} leg")
        if direction is not None and flow.halves[direction].ended:
            raise ValueError(f"session {session} has ended {direction} on its {leg} leg")
        return flow


def _substitute_address(session: int, leg: Leg, source: Endpoint) -> Endpoint:
    """Return an address for a flow whose own is in use by another flow.

    Two open flows have the same addresses if one proxy's upstream leg is another's client leg in
    the same file, or if little is known about their ends. Neither would be readable as one
    connection. The note has the true address.
    """
    number = session * len(INTERFACES) + INTERFACES[leg] + 1
    return Endpoint(f"0.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", source.port)


def _append_alone(blocks: PacketBlocks, flow: Flow, direction: Direction, chunk: Chunk) -> None:
    """Append a chunk in packets of its own, with its note on the last."""
    options = note_options(chunk.note)
    half = flow.halves[direction]
    missing = _UNKNOWN_JUMP if chunk.missing == UNKNOWN_SIZE else chunk.missing
    half.sequence = (half.sequence + missing) & 0xFFFFFFFF
    half.position += max(chunk.missing, 0)
    view = memoryview(chunk.raw)
    # Where the last packet begins. An empty chunk has one packet anyway.
    last = max(len(view) - 1, 0) // MAX_PAYLOAD * MAX_PAYLOAD
    for start in range(0, last, MAX_PAYLOAD):
        blocks.packet(flow, direction, ACK, [view[start : start + MAX_PAYLOAD]])
    blocks.packet(flow, direction, PSH | ACK, [view[last:]], options)
    if missing:
        # What follows is acknowledged at once, so that readers trust the new sequence numbers.
        half.unacked_bytes = MAX_UNACKNOWLEDGED_BYTES
