"""Classic pcap, as tcpdump writes it: all variants that libpcap reads.

They have either byte order, micro- or nanoseconds, the longer packet headers of Alexey Kuznetzov's
patched libpcap, or the swapped lengths of old versions.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

import msgspec

from lbcproxy.capture.format import Format, Source
from lbcproxy.capture.packet import Packet
from lbcproxy.capture.spans import Span, only_zeros
from lbcproxy.errors import CaptureError

__all__ = ["FORMAT", "matches", "read", "spans"]

# The first four bytes give the byte order, how many nanoseconds a unit of the fraction has, and
# what follows the lengths in a packet's header.
_MAGICS = {
    struct.pack(order + "I", magic): (order, unit, rest)
    for magic, unit, rest in (
        (0xA1B2C3D4, 1_000, ""),
        (0xA1B23C4D, 1, ""),
        (0xA1B2CD34, 1_000, "8x"),  # Kuznetzov's: interface, protocol, direction
    )
    for order in "<>"
}
_FILE_HEADER = 24
# Far above any packet. A longer one is damage: no memory must be allocated for it.
_MAX_RECORD = 64 * 2**20
# After damage, a packet's header is only recognised by being plausible.
_MAX_PACKET = 262_144
_MAX_SECONDS_APART = 86_400
_PACKETS_IN_A_ROW = 3
_SEARCH_CHUNK = 1 << 20


def matches(head: bytes) -> bool:
    """Return whether a file that begins with these bytes is a pcap file."""
    return head[:4] in _MAGICS


def read(file: BinaryIO) -> Iterator[Packet]:
    """Return the packets in order; CaptureError where the file is damaged or cut."""
    layout = _read_layout(file)
    yield from _packets(file, layout, _FILE_HEADER)


def spans(file: BinaryIO) -> Iterator[Span]:
    """Return the intact and the damaged spans of a file, from its start to its end.

    After damage, reading resumes where several packets follow each other with times near that of
    the last good one. A damaged file header raises CaptureError.
    """
    size = file.seek(0, 2)
    file.seek(0)
    layout = _read_layout(file)
    start, end, seconds = 0, _FILE_HEADER, None
    while start < size:
        file.seek(end)
        packets, damage = 0, None
        try:
            for packet in _packets(file, layout, end):
                packets += 1
                end = packet.offset + layout.size + len(packet.data)
                seconds = packet.time_ns // 1_000_000_000
        except CaptureError as error:
            damage = error.what
        if end > start:
            yield Span(start, end, packets)
        if damage is None:
            return
        resumed = None if seconds is None else _resume(file, layout, end + 1, seconds)
        torn = resumed is None and _is_tail(file, layout, end)
        start = size if resumed is None else resumed
        yield Span(end, start, damage=damage, torn=torn)
        end = start


class _PcapHeader(msgspec.Struct, frozen=True):
    """What the file header says about the packets."""

    head: bytes
    order: str
    unit: int
    """How many nanoseconds a unit of the fraction has."""
    link_type: int
    size: int
    """How many bytes a packet's header has."""
    header: Callable[[bytes], tuple[int, ...]]
    """Return seconds, fraction, length in the file and length on the wire from it."""


def _read_layout(file: BinaryIO) -> _PcapHeader:
    head = file.read(_FILE_HEADER)
    if not matches(head):
        raise CaptureError(f"not a pcap file: it begins with {head[:4].hex()}", 0)
    if len(head) < _FILE_HEADER:
        raise CaptureError("the file header is cut", 0)
    order, unit, rest = _MAGICS[head[:4]]
    # The upper half of the link type's word may hold the length of a frame check sequence.
    link_type = struct.unpack_from(order + "I", head, 20)[0] & 0xFFFF
    record = struct.Struct(f"{order}IIII{rest}")
    header = _header_reader(record, struct.unpack_from(order + "HH", head, 4))
    return _PcapHeader(head[:8], order, unit, link_type, record.size, header)


def _header_reader(
    record: struct.Struct, version: tuple[int, ...]
) -> Callable[[bytes], tuple[int, ...]]:
    """Return a function that parses a packet's header.

    Before version 2.3, and in DG/UX's 543.0, the two lengths are swapped. Writers of version 2.3
    did not agree.
    """

    def swapped(header: bytes) -> tuple[int, ...]:
        seconds, fraction, original, length = record.unpack(header)
        return seconds, fraction, length, original

    def sorted_by_size(header: bytes) -> tuple[int, ...]:
        seconds, fraction, *lengths = record.unpack(header)
        return seconds, fraction, min(lengths), max(lengths)

    if version < (2, 3) or version == (543, 0):
        return swapped
    return sorted_by_size if version == (2, 3) else record.unpack


def _packets(file: BinaryIO, layout: _PcapHeader, offset: int) -> Iterator[Packet]:
    size, zeros = layout.size, bytes(layout.size)
    while header := file.read(size):
        if len(header) < size:
            raise CaptureError("the header of the last packet is cut", offset)
        if header[:8] == layout.head:
            raise CaptureError("another pcap file begins here", offset)
        if header == zeros:
            raise CaptureError("zeros where a packet should be", offset)
        seconds, fraction, length, _ = layout.header(header)
        if length > _MAX_RECORD:
            raise CaptureError(f"a packet cannot have {length:,} bytes", offset)
        data = file.read(length)
        if len(data) < length:
            raise CaptureError(f"the last packet is cut: {len(data):,} of {length:,} bytes", offset)
        time_ns = seconds * 1_000_000_000 + fraction * layout.unit
        yield Packet(time_ns, layout.link_type, data, offset)
        offset += size + length


def _is_tail(file: BinaryIO, layout: _PcapHeader, offset: int) -> bool:
    size = file.seek(0, 2)
    file.seek(offset)
    header = file.read(layout.size)
    if len(header) < layout.size:
        return True
    length = layout.header(header)[2]
    if size - offset - layout.size < length <= _MAX_RECORD:
        return True
    return only_zeros(file, offset)


def _resume(file: BinaryIO, layout: _PcapHeader, offset: int, seconds: int) -> int | None:
    """Return the offset where packets begin again after damage; None if they do not."""
    # The upper half of the seconds changes every 18 hours.
    halves = {max(seconds // 65_536 + step, 0) & 0xFFFF for step in (-1, 0, 1)}
    upper = [struct.pack(layout.order + "H", half) for half in sorted(halves)]
    pattern = re.compile(b"|".join(map(re.escape, upper)))
    before = 2 if layout.order == "<" else 0
    first = offset
    while True:
        file.seek(offset)
        data = file.read(_SEARCH_CHUNK)
        for match in pattern.finditer(data):
            candidate = offset + match.start() - before
            if candidate >= first and _are_packets(file, layout, candidate, seconds):
                return candidate
        if len(data) < _SEARCH_CHUNK:
            return None
        offset += len(data) - 3


def _are_packets(file: BinaryIO, layout: _PcapHeader, offset: int, seconds: int) -> bool:
    """Return whether several packets follow each other here, or one up to the end of the file."""
    size = file.seek(0, 2)
    for number in range(_PACKETS_IN_A_ROW):
        file.seek(offset)
        header = file.read(layout.size)
        if len(header) < layout.size:
            return number > 0 and offset + len(header) == size
        packet_seconds, fraction, length, original = layout.header(header)
        if abs(packet_seconds - seconds) > _MAX_SECONDS_APART:
            return False
        if fraction * layout.unit >= 1_000_000_000:
            return False
        if not 0 < length <= min(original, _MAX_PACKET):
            return False
        offset += layout.size + length
    return offset <= size


def _read_source(source: Source) -> Iterator[Packet]:
    return read(source.file)


FORMAT = Format(
    name="pcap",
    suffixes=(".pcap", ".cap", ".dmp"),
    matches=matches,
    read=_read_source,
    spans=spans,
)
