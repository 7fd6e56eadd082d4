"""pcapng: the format lbcproxy writes, and what Wireshark saves.

A file is a row of blocks, each with its length at both ends, so it can be read as far as it is
whole. Sections may differ in byte order, interfaces in link type and unit of time. Blocks and
options without use here are skipped. The draft is draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from lbcproxy.capture.formats import _spans
from lbcproxy.capture.formats._besides import Besides
from lbcproxy.capture.formats._spans import Stretch
from lbcproxy.capture.formats._statistics import OPTION_DROPPED, statistics
from lbcproxy.capture.packet import Packet, Section, Statistics
from lbcproxy.capture.writing.blocks import MIN_BLOCK, block, options
from lbcproxy.errors import CaptureError

if TYPE_CHECKING:
    from lbcproxy.capture.writing.writer import Writer

__all__ = [
    "ENHANCED_PACKET",
    "INTERFACE",
    "NAME",
    "OPTION_COMMENT",
    "OPTION_CUSTOM",
    "OPTION_DROPPED",
    "OPTION_TIME_UNIT",
    "PEN",
    "SECTION",
    "STATISTICS",
    "SUFFIXES",
    "block",
    "matches",
    "options",
    "read",
    "read_counting",
    "stretches",
    "whole_length",
    "writer",
]

NAME = "pcapng"
SUFFIXES = (".pcapng", ".ntar")

SECTION = 0x0A0D0D0A
INTERFACE = 1
PACKET = 2  # obsolete; old files have it in place of the enhanced packet
SIMPLE_PACKET = 3
STATISTICS = 5
ENHANCED_PACKET = 6

OPTION_COMMENT = 1
OPTION_TIME_UNIT = 9
OPTION_TIME_OFFSET = 14
_OPTION_DROP_COUNT = 4  # of a packet
OPTION_CUSTOM = 2988
# Custom options carry the number of who made them. This one is for documentation: lbcproxy has
# none of its own yet, so its texts name their schema as well.
PEN = 32473

# Far above any packet: a longer block is damage, and must not be allocated for.
_MAX_BLOCK = 64 * 2**20
# Blocks that reading may go on with behind damage: what is in most files.
_RESUMABLE = (INTERFACE, PACKET, SIMPLE_PACKET, 4, STATISTICS, ENHANCED_PACKET)
_SEARCHED = 1 << 20
_UNKNOWN_DROPS = 0xFFFF
_MICROSECONDS = b"\x06"
_BYTE_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}


class _Block(msgspec.Struct, frozen=True, gc=False):
    """One block without its lengths; `order` is the byte order of its section."""

    kind: int
    body: bytes
    order: str
    offset: int


class _Interface(msgspec.Struct, frozen=True, gc=False):
    """What the packets of an interface have in common; `units` is how many make a second."""

    link_type: int
    snap_length: int
    units: int
    time_offset: int

    def time_ns(self, count: int) -> int:
        """Give the time that a packet's count of units means, in nanoseconds since 1970."""
        return count * 1_000_000_000 // self.units + self.time_offset * 1_000_000_000


class _Reading:
    """What the blocks so far say of those to come."""

    def __init__(self) -> None:
        self.order = ""
        self.interfaces: list[_Interface] = []
        self.is_ours = False
        self.besides = Besides(Counter())

    def copy(self) -> _Reading:
        other = _Reading()
        other.order, other.interfaces = self.order, self.interfaces.copy()
        return other

    def item(self, found: _Block) -> Packet | Section | Statistics | None:
        """Give what a block holds for the reader."""
        if found.kind == SECTION:
            self.interfaces = []
            section = _section(found)
            self.is_ours = bool(section.custom)
            self._count("sections", found, 16)
            return section
        if found.kind == INTERFACE:
            self.interfaces.append(_interface(found))
            self._count("interfaces", found, 8)
        elif found.kind in (ENHANCED_PACKET, PACKET):
            packet = _enhanced(found, self.interfaces)
            size = len(packet.data)
            self._count("packets", found, 20 + size + -size % 4)
            return packet
        elif found.kind == SIMPLE_PACKET:
            return _simple(found, self.interfaces)
        elif found.kind == STATISTICS:
            return _statistics(found, self.interfaces)
        else:
            self.besides.block(found.kind)
        return None

    def _count(self, where: str, found: _Block, start: int) -> None:
        if not self.is_ours:
            own = struct.pack(found.order + "I", PEN)
            self.besides.options(where, _options(found, start), own)


def matches(head: bytes) -> bool:
    """Whether a file that begins so is a pcapng file."""
    return head[:4] == SECTION.to_bytes(4)


def read(file: BinaryIO) -> Iterator[Packet | Section | Statistics]:
    """Give what there is one after another; CaptureError where it is damaged or cut.

    A packet in a block without a time (SPB) has the time 0.
    """
    return read_counting(file, Counter())


def read_counting(
    file: BinaryIO, not_kept: Counter[str]
) -> Iterator[Packet | Section | Statistics]:
    """Give the same, and count what others wrote besides, in words."""
    reading = _Reading()
    reading.besides = Besides(not_kept)
    for found in _blocks(file, reading):
        item = reading.item(found)
        if item is not None:
            yield item


def writer(write: Callable[[bytes], object]) -> Writer:
    """Give what writes a pcapng as lbcproxy records it: it holds all that there is."""
    from lbcproxy.capture.writing.writer import Recorded  # which stands on this module

    return Recorded(write)


def whole_length(file: BinaryIO) -> int:
    """How many bytes of a file are whole blocks, where what is behind is a torn tail.

    A tail is what a crash leaves: the beginning of a block, or zeros; it may be cut off, so that
    the file can be appended to. Anything else behind whole blocks is damage, with good blocks
    behind it perhaps: CaptureError.
    """
    return _spans.whole_length(stretches(file))


def stretches(file: BinaryIO) -> Iterator[Stretch]:
    """Tell what of a file is whole and what is damaged, from its beginning to its end.

    Behind damage, reading goes on where a block begins that is whole, and another one behind it.
    """
    reading = _Reading()
    size = file.seek(0, 2)
    start = 0
    while start < size:
        file.seek(start)
        end, packets, damage = start, 0, None
        try:
            for found in _blocks(file, reading, start):
                packets += isinstance(reading.item(found), Packet)
                end = found.offset + len(found.body) + MIN_BLOCK
        except CaptureError as error:
            damage = error.what
        if end > start:
            yield Stretch(start, end, packets)
        if damage is None:
            return
        resumed = _resume(file, reading, end + 1)
        torn = resumed is None and _is_tail(file, end)
        start = size if resumed is None else resumed
        yield Stretch(end, start, damage=damage, torn=torn)


def _is_tail(file: BinaryIO, offset: int) -> bool:
    size = file.seek(0, 2)
    file.seek(offset)
    head = file.read(8)
    if len(head) < 8:
        return True
    totals = (int.from_bytes(head[4:], order) for order in ("little", "big"))
    if any(total % 4 == 0 and size - offset < total <= _MAX_BLOCK for total in totals):
        return True
    return _spans.only_zeros(file, offset)


def _resume(file: BinaryIO, reading: _Reading, offset: int) -> int | None:
    """Find where blocks begin again behind damage; None where they do not.

    Where a section's header is lost, that is where the next section begins: what its interfaces
    were is not known.
    """
    kinds = [SECTION.to_bytes(4)]
    file.seek(offset - 1)
    if reading.order and file.read(4) != kinds[0]:
        kinds += [struct.pack(reading.order + "I", kind) for kind in _RESUMABLE]
    pattern = re.compile(b"|".join(map(re.escape, kinds)))
    while True:
        file.seek(offset)
        data = file.read(_SEARCHED)
        for found in pattern.finditer(data):
            place = offset + found.start()
            if _is_block(file, reading.copy(), place):
                return place
        if len(data) < _SEARCHED:
            return None
        offset += len(data) - 3  # a number may stand across the border


def _is_block(file: BinaryIO, reading: _Reading, offset: int) -> bool:
    """Whether a whole block begins at a place, and behind it another one or the file's end."""
    file.seek(offset)
    try:
        for number, found in enumerate(_blocks(file, reading, offset)):
            reading.item(found)
            if number:
                return True
    except CaptureError as error:
        return bool(error.offset != offset and _is_tail(file, error.offset or 0))
    return True


def _blocks(file: BinaryIO, reading: _Reading, offset: int = 0) -> Iterator[_Block]:
    """Cut a file into blocks; CaptureError at the first that is not whole."""
    order = reading.order
    while head := file.read(8):
        if len(head) < 8:
            raise CaptureError("the file ends inside a block's header", offset)
        start = b""
        if matches(head):
            start = file.read(4)
            order = _BYTE_ORDERS.get(start, "")
            if not order:
                what = "cut" if len(start) < 4 else f"without a byte order: {start.hex()}"
                raise CaptureError(f"a section header {what}", offset)
        elif not order:
            raise CaptureError(f"no section header, it begins with {head[:4].hex()}", offset)
        kind, length = struct.unpack(order + "II", head)
        if not MIN_BLOCK + len(start) <= length <= _MAX_BLOCK or length % 4:
            raise CaptureError(f"a block of {length:,} bytes cannot be", offset)
        rest = file.read(length - 8 - len(start))
        if len(rest) < length - 8 - len(start):
            raise CaptureError("the last block is cut", offset)
        if rest[-4:] != head[4:]:
            raise CaptureError("a block's length differs at its two ends", offset)
        reading.order = order  # not before: of a section whose header is lost nothing is read
        yield _Block(kind, start + rest[:-4], order, offset)
        offset += length


def _section(found: _Block) -> Section:
    if len(found.body) < 16:
        raise CaptureError("a section header is too short", found.offset)
    major, minor = struct.unpack_from(found.order + "HH", found.body, 4)
    if major != 1:
        raise CaptureError(f"version {major}.{minor} of pcapng is not understood", found.offset)
    comments, custom, _ = _texts(found, 16)
    return Section(custom, comments, found.offset)


def _interface(found: _Block) -> _Interface:
    if len(found.body) < 8:
        raise CaptureError("an interface is too short", found.offset)
    link_type, _, snap_length = struct.unpack_from(found.order + "HHI", found.body)
    unit, time_offset = _MICROSECONDS, 0
    for code, value in _options(found, 8):
        if code == OPTION_TIME_UNIT and len(value) == 1:
            unit = value
        elif code == OPTION_TIME_OFFSET and len(value) == 8:
            time_offset = struct.unpack(found.order + "q", value)[0]
    # The first bit chooses between a power of two and a power of ten.
    units = (2 if unit[0] & 0x80 else 10) ** (unit[0] & 0x7F)
    return _Interface(link_type, snap_length, units, time_offset)


def _enhanced(found: _Block, interfaces: list[_Interface]) -> Packet:
    if len(found.body) < 20:
        raise CaptureError("a packet's block is too short", found.offset)
    # The obsolete block has a number of lost packets in half of the interface's word.
    form = "IIIII" if found.kind == ENHANCED_PACKET else "H2xIIII"
    number, high, low, length, _ = struct.unpack_from(found.order + form, found.body)
    if number >= len(interfaces):
        raise CaptureError(f"a packet of interface {number}, which is unknown", found.offset)
    if length > len(found.body) - 20:
        raise CaptureError("a packet is longer than its block", found.offset)
    interface = interfaces[number]
    comments, custom, dropped = _texts(found, 20 + length + -length % 4)
    if found.kind == PACKET:
        dropped = int(struct.unpack_from(found.order + "2xH", found.body)[0])
        dropped = 0 if dropped == _UNKNOWN_DROPS else dropped
    return Packet(
        interface.time_ns(high << 32 | low),
        interface.link_type,
        found.body[20 : 20 + length],
        found.offset,
        comments,
        custom,
        dropped,
        number,
    )


def _statistics(found: _Block, interfaces: list[_Interface]) -> Statistics | None:
    """Return what a block of statistics says; one that is malformed must not end the reading."""
    if len(found.body) < 12:
        return None
    number, high, low = struct.unpack_from(found.order + "III", found.body)
    if number >= len(interfaces):
        return None
    time_ns = interfaces[number].time_ns(high << 32 | low)
    try:
        options, custom = list(_options(found, 12)), _texts(found, 12)[1]
    except CaptureError:
        return None
    return statistics(time_ns, number, options, custom, found.order, found.offset)


def _simple(found: _Block, interfaces: list[_Interface]) -> Packet:
    if not interfaces:
        raise CaptureError("a packet of interface 0, which is unknown", found.offset)
    if len(found.body) < 4:
        raise CaptureError("a packet's block is too short", found.offset)
    interface = interfaces[0]
    # The block says how long the packet was; what was kept of it follows from the limit.
    length = struct.unpack_from(found.order + "I", found.body)[0]
    if interface.snap_length:
        length = min(length, interface.snap_length)
    if length > len(found.body) - 4:
        raise CaptureError("a packet is longer than its block", found.offset)
    return Packet(0, interface.link_type, found.body[4 : 4 + length], found.offset)


def _texts(found: _Block, start: int) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """Return comments and lbcproxy's texts of a block; of a packet, how many were dropped too."""
    if start >= len(found.body):
        return (), (), 0
    comments, custom, dropped = [], [], 0
    pen = struct.pack(found.order + "I", PEN)
    for code, value in _options(found, start):
        if code == OPTION_COMMENT:
            comments.append(value.decode(errors="replace"))
        elif code == OPTION_CUSTOM and value[:4] == pen:
            custom.append(value[4:].decode(errors="replace"))
        elif code == _OPTION_DROP_COUNT and len(value) == 8:
            dropped = struct.unpack(found.order + "Q", value)[0]
    return tuple(comments), tuple(custom), dropped


def _options(found: _Block, start: int) -> Iterator[tuple[int, bytes]]:
    """Give the options of a block from a place in its body on."""
    body = found.body
    while start + 4 <= len(body):
        code, length = struct.unpack_from(found.order + "HH", body, start)
        if code == 0:
            return
        start += 4
        if length > len(body) - start:
            raise CaptureError(f"option {code} is longer than its block", found.offset)
        yield code, body[start : start + length]
        start += length + -length % 4
