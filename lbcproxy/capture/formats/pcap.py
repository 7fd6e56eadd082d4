"""Classic pcap, as tcpdump writes it: all variants that libpcap reads.

Those are either byte order, micro- or nanoseconds, the longer packet headers of Alexey
Kuznetzov's patched libpcap, and the old versions that have the two lengths the other way round.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from lbcproxy.capture.formats import _spans
from lbcproxy.capture.formats._spans import Stretch
from lbcproxy.capture.packet import Packet
from lbcproxy.errors import CaptureError

if TYPE_CHECKING:
    from lbcproxy.capture.writing.writer import Writer

__all__ = ["NAME", "SUFFIXES", "matches", "read", "stretches", "whole_length", "writer"]

NAME = "pcap"
SUFFIXES = (".pcap", ".cap", ".dmp")

# The first four bytes say the byte order, how many nanoseconds a fraction's unit has, and what a
# packet's header has after its lengths.
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
# Far above any packet: a longer one is damage, and must not be allocated for.
_MAX_RECORD = 64 * 2**20
# Behind damage a packet's header has nothing to know it by but that it makes sense.
_MAX_PACKET = 262_144
_NEAR = 86_400
_FOLLOWING = 3
_SEARCHED = 1 << 20


def matches(head: bytes) -> bool:
    """Whether a file that begins so is a pcap file."""
    return head[:4] in _MAGICS


def read(file: BinaryIO) -> Iterator[Packet]:
    """Give the packets one after another; CaptureError where the file is damaged or cut."""
    form = _form(file)
    yield from _packets(file, form, _FILE_HEADER)


def writer(write: Callable[[bytes], object]) -> Writer:
    """Give what writes a pcap with nanoseconds: the packets of a pcapng, without their notes."""
    from lbcproxy.capture.writing.pcap import AsPcap  # which stands on the recorder

    return AsPcap(write)


def whole_length(file: BinaryIO) -> int:
    """How many bytes of a file are whole packets, where what is behind is a torn tail.

    CaptureError where it is damage, with good packets behind it perhaps.
    """
    return _spans.whole_length(stretches(file))


def stretches(file: BinaryIO) -> Iterator[Stretch]:
    """Tell what of a file is whole and what is damaged, from its beginning to its end.

    Behind damage, reading goes on where several packets follow each other whose times are near
    that of the last good one. Damage of the file header is CaptureError.
    """
    size = file.seek(0, 2)
    file.seek(0)
    form = _form(file)
    start, end, seconds = 0, _FILE_HEADER, None
    while start < size:
        file.seek(end)
        packets, damage = 0, None
        try:
            for packet in _packets(file, form, end):
                packets += 1
                end = packet.offset + form.size + len(packet.data)
                seconds = packet.time_ns // 1_000_000_000
        except CaptureError as error:
            damage = error.what
        if end > start:
            yield Stretch(start, end, packets)
        if damage is None:
            return
        resumed = None if seconds is None else _resume(file, form, end + 1, seconds)
        torn = resumed is None and _is_tail(file, form, end)
        start = size if resumed is None else resumed
        yield Stretch(end, start, damage=damage, torn=torn)
        end = start


class _Form(msgspec.Struct, frozen=True):
    """What the file header says of the packets."""

    head: bytes
    order: str
    unit: int
    """How many nanoseconds a fraction's unit has."""
    link_type: int
    size: int
    """How many bytes a packet's header has."""
    header: Callable[[bytes], tuple[int, ...]]
    """Return seconds, fraction, length in the file and length on the wire from it."""


def _form(file: BinaryIO) -> _Form:
    head = file.read(_FILE_HEADER)
    if not matches(head):
        raise CaptureError(f"no pcap file: it begins with {head[:4].hex()}", 0)
    if len(head) < _FILE_HEADER:
        raise CaptureError("the file header is cut", 0)
    order, unit, rest = _MAGICS[head[:4]]
    # The upper half of the link type's word may tell the length of a frame check sequence.
    link_type = struct.unpack_from(order + "I", head, 20)[0] & 0xFFFF
    record = struct.Struct(f"{order}IIII{rest}")
    header = _header_reader(record, struct.unpack_from(order + "HH", head, 4))
    return _Form(head[:8], order, unit, link_type, record.size, header)


def _header_reader(
    record: struct.Struct, version: tuple[int, ...]
) -> Callable[[bytes], tuple[int, ...]]:
    """Return what reads a packet's header.

    Before version 2.3, and in DG/UX's 543.0, the two lengths are the other way round; those who
    wrote 2.3 did not agree.
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


def _packets(file: BinaryIO, form: _Form, offset: int) -> Iterator[Packet]:
    size, nothing = form.size, bytes(form.size)
    while header := file.read(size):
        if len(header) < size:
            raise CaptureError("the header of the last packet is cut", offset)
        if header[:8] == form.head:
            raise CaptureError("another pcap file begins here", offset)
        if header == nothing:
            raise CaptureError("zeros where a packet should be", offset)
        seconds, fraction, length, _ = form.header(header)
        if length > _MAX_RECORD:
            raise CaptureError(f"a packet of {length:,} bytes cannot be", offset)
        data = file.read(length)
        if len(data) < length:
            raise CaptureError(f"the last packet is cut: {len(data):,} of {length:,} bytes", offset)
        time_ns = seconds * 1_000_000_000 + fraction * form.unit
        yield Packet(time_ns, form.link_type, data, offset)
        offset += size + length


def _is_tail(file: BinaryIO, form: _Form, offset: int) -> bool:
    size = file.seek(0, 2)
    file.seek(offset)
    header = file.read(form.size)
    if len(header) < form.size:
        return True
    length = form.header(header)[2]
    if size - offset - form.size < length <= _MAX_RECORD:
        return True
    return _spans.only_zeros(file, offset)


def _resume(file: BinaryIO, form: _Form, offset: int, seconds: int) -> int | None:
    """Find where packets begin again behind damage; None where they do not."""
    # The upper half of the seconds changes each 18 hours.
    halves = {max(seconds // 65_536 + step, 0) & 0xFFFF for step in (-1, 0, 1)}
    upper = [struct.pack(form.order + "H", half) for half in sorted(halves)]
    pattern = re.compile(b"|".join(map(re.escape, upper)))
    before = 2 if form.order == "<" else 0
    first = offset
    while True:
        file.seek(offset)
        data = file.read(_SEARCHED)
        for found in pattern.finditer(data):
            place = offset + found.start() - before
            if place >= first and _are_packets(file, form, place, seconds):
                return place
        if len(data) < _SEARCHED:
            return None
        offset += len(data) - 3


def _are_packets(file: BinaryIO, form: _Form, offset: int, seconds: int) -> bool:
    """Whether some packets follow each other from a place on, or one does up to the end."""
    size = file.seek(0, 2)
    for number in range(_FOLLOWING):
        file.seek(offset)
        header = file.read(form.size)
        if len(header) < form.size:
            return number > 0 and offset + len(header) == size
        at, fraction, length, original = form.header(header)
        if abs(at - seconds) > _NEAR or fraction * form.unit >= 1_000_000_000:
            return False
        if not 0 < length <= min(original, _MAX_PACKET):
            return False
        offset += form.size + length
    return offset <= size
