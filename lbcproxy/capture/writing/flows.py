"""Synthetic TCP connections: their sequence numbers, and their packets as pcapng blocks."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from lbcproxy.capture.formats.pcapng import ENHANCED_PACKET
from lbcproxy.capture.ip.segments import Route
from lbcproxy.capture.packet import ACK, FIN, SYN, Leg
from lbcproxy.endpoint import Endpoint
from lbcproxy.session.direction import Direction

__all__ = [
    "END_OF_OPTIONS",
    "INTERFACES",
    "LAST_NS",
    "MAX_UNACKNOWLEDGED_BYTES",
    "Flow",
    "PacketBlocks",
]

# A flow's first sequence number comes from the clock, in steps of 4 microseconds as in RFC 9293.
# If it were always 0, Wireshark would take a later connection on the same ports for a repetition.
_SEQUENCE_STEP_NS = 4_000

# How much one side sends before the other acknowledges without sending data.
MAX_UNACKNOWLEDGED_BYTES = 2**20
_MAX_UNACKNOWLEDGED_PACKETS = 256
INTERFACES = {Leg.CLIENT: 0, Leg.UPSTREAM: 1}
END_OF_OPTIONS = bytes(4)
LAST_NS = 2**64 - 1
"""The last time that can be written, in the year 2554; other files may claim a later one."""
_OPTION_FLAGS = 2
_INBOUND = struct.pack("<HHI", _OPTION_FLAGS, 4, 1)
_OUTBOUND = struct.pack("<HHI", _OPTION_FLAGS, 4, 2)
_PACKET = struct.Struct("<7I")
_PADDING = (b"", bytes(3), bytes(2), bytes(1))


class Half:
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
        self.position = 0  # bytes so far, including those in earlier files
        self.unacked_bytes = 0
        self.unacked_packets = 0


class Flow:
    """One leg of a session while it is open."""

    __slots__ = ("ends", "halves", "interface")

    def __init__(self, leg: Leg, source: Endpoint, target: Endpoint, time_ns: int) -> None:
        there, back = Route(source, target), Route(target, source)
        self.ends = there.ends
        self.interface = INTERFACES[leg]
        arriving, leaving = (_INBOUND, _OUTBOUND) if leg is Leg.CLIENT else (_OUTBOUND, _INBOUND)
        sequence = time_ns // _SEQUENCE_STEP_NS & 0xFFFFFFFF
        # On both legs, it is the client's side that connects.
        self.halves = {
            Direction.TO_UPSTREAM: Half(there, arriving, sequence),
            Direction.TO_CLIENT: Half(back, leaving, sequence),
        }

    def progress(self) -> list[tuple[int, int, int, int]]:
        """Return the state of both directions, for `restore`."""
        return [
            (half.sequence, half.position, half.unacked_bytes, half.unacked_packets)
            for half in self.halves.values()
        ]

    def restore(self, progress: list[tuple[int, int, int, int]]) -> None:
        """Return to an earlier state."""
        for half, values in zip(self.halves.values(), progress, strict=True):
            half.sequence, half.position, half.unacked_bytes, half.unacked_packets = values


class PacketBlocks:
    """The blocks of one call, collected as parts and joined once."""

    __slots__ = ("parts", "time_ns")

    def __init__(self, time_ns: int) -> None:
        self.time_ns = min(max(time_ns, 0), LAST_NS)
        self.parts: list[bytes | memoryview] = []

    def packet(
        self,
        flow: Flow,
        direction: Direction,
        flags: int,
        payload: Sequence[bytes | memoryview] = (),
        options: bytes = b"",
    ) -> None:
        """Append a packet, and advance its flow."""
        half, other = flow.halves[direction], flow.halves[direction.other]
        length = sum(map(len, payload))
        acknowledgment = other.sequence if flags & ACK else 0
        headers = half.route.headers(half.sequence, acknowledgment, flags, length)
        size = len(headers) + length
        padding = _PADDING[size % 4]
        tail = half.flags + options + END_OF_OPTIONS
        total = 32 + size + len(padding) + len(tail)
        high, low = divmod(self.time_ns, 1 << 32)
        self.parts.append(
            _PACKET.pack(ENHANCED_PACKET, total, flow.interface, high, low, size, size)
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
            half.unacked_bytes >= MAX_UNACKNOWLEDGED_BYTES
            or half.unacked_packets >= _MAX_UNACKNOWLEDGED_PACKETS
        ):
            self.packet(flow, direction.other, ACK)
