"""The blocks of a pcapng file and what is in them: draft-ietf-opsawg-pcapng."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from lbcproxy.capture.packet import Packet, Section, Statistics
from lbcproxy.errors import CaptureError

__all__ = [
    "ENHANCED_PACKET",
    "INTERFACE",
    "MAX_BLOCK",
    "MIN_BLOCK",
    "OPTION_COMMENT",
    "OPTION_CUSTOM",
    "OPTION_DROPPED",
    "OPTION_TIME_UNIT",
    "PEN",
    "RESUMABLE",
    "SCHEMA",
    "SECTION",
    "STATISTICS",
    "BlockReader",
    "PcapngBlock",
    "is_section",
    "read_blocks",
]

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
OPTION_DROPPED = 5
"""`isb_ifdrop`, of a block of statistics."""
OPTION_CUSTOM = 2988
# A custom option begins with its vendor's number. This one is reserved for documentation: lbcproxy
# has none of its own yet, so its texts name their schema as well.
PEN = 32473
SCHEMA = "lbcproxy/1"
"""What `schema` is in the JSON texts of lbcproxy's custom options."""

MIN_BLOCK = 12
"""Bytes of a block with an empty body: its type, and its length at both ends."""
MAX_BLOCK = 64 * 2**20
"""Far above any packet. A longer block is damage: no memory must be allocated for it."""
RESUMABLE = (INTERFACE, PACKET, SIMPLE_PACKET, 4, STATISTICS, ENHANCED_PACKET)
"""Types of blocks with which reading may resume after damage: those in most files."""

_UNKNOWN_DROPS = 0xFFFF
_MICROSECONDS = b"\x06"
_BYTE_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_STATISTICS_COUNTS = {
    4: "received",
    OPTION_DROPPED: "dropped",
    6: "accepted",
    7: "dropped_by_system",
    8: "delivered",
}
_SKIPPED_BLOCKS = {
    4: "blocks of names",
    10: "blocks of secrets",
    0x0BAD: "custom blocks",
    0x40000BAD: "custom blocks",
}
_READ_OPTIONS = {
    "sections": frozenset({OPTION_COMMENT}),
    "interfaces": frozenset({OPTION_TIME_UNIT, OPTION_TIME_OFFSET}),
    "packets": frozenset({OPTION_COMMENT, _OPTION_DROP_COUNT}),
}
"""Options that are read, apart from lbcproxy's own texts."""


class PcapngBlock(msgspec.Struct, frozen=True, gc=False):
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
        """Return the time of a packet's count of units, in nanoseconds since 1970."""
        return count * 1_000_000_000 // self.units + self.time_offset * 1_000_000_000


class BlockReader:
    """Makes items of blocks, with what the blocks so far say about those to come.

    Blocks and options of other programs that are not read are counted in `not_kept`.
    """

    def __init__(self, not_kept: Counter[str] | None = None) -> None:
        self.order = ""
        """The byte order of the section."""
        self._interfaces: list[_Interface] = []
        self._is_ours = False
        self._not_kept: Counter[str] = Counter() if not_kept is None else not_kept

    def copy(self) -> BlockReader:
        """Return a reader that starts with the same section and interfaces."""
        other = BlockReader()
        other.order, other._interfaces = self.order, self._interfaces.copy()
        return other

    def item(self, block: PcapngBlock) -> Packet | Section | Statistics | None:
        """Return what a block holds; None for a block without an item of its own."""
        if block.kind == SECTION:
            self._interfaces = []
            section = _section(block)
            self._is_ours = bool(section.custom)
            self._count_options("sections", block, 16)
            return section
        if block.kind == INTERFACE:
            self._interfaces.append(_interface(block))
            self._count_options("interfaces", block, 8)
        elif block.kind in (ENHANCED_PACKET, PACKET):
            packet = _packet(block, self._interfaces)
            size = len(packet.data)
            self._count_options("packets", block, 20 + size + -size % 4)
            return packet
        elif block.kind == SIMPLE_PACKET:
            return _simple_packet(block, self._interfaces)
        elif block.kind == STATISTICS:
            return _statistics(block, self._interfaces)
        else:
            self._not_kept[_SKIPPED_BLOCKS.get(block.kind, "blocks of other kinds")] += 1
        return None

    def _count_options(self, where: str, block: PcapngBlock, start: int) -> None:
        if self._is_ours:
            return
        own = struct.pack(block.order + "I", PEN)
        for code, value in _options(block, start):
            if code not in _READ_OPTIONS[where] and not (
                code == OPTION_CUSTOM and value[:4] == own
            ):
                self._not_kept[f"options of {where}"] += 1


def is_section(head: bytes) -> bool:
    """Return whether a block that begins with these bytes is a section header."""
    return head[:4] == SECTION.to_bytes(4)


def read_blocks(file: BinaryIO, reader: BlockReader, offset: int = 0) -> Iterator[PcapngBlock]:
    """Split a file into blocks; CaptureError at the first that is not intact."""
    order = reader.order
    while head := file.read(8):
        if len(head) < 8:
            raise CaptureError("the file ends inside a block's header", offset)
        start = b""
        if is_section(head):
            start = file.read(4)
            order = _BYTE_ORDERS.get(start, "")
            if not order:
                what = "cut" if len(start) < 4 else f"without a byte order: {start.hex()}"
                raise CaptureError(f"a section header {what}", offset)
        elif not order:
            raise CaptureError(f"not a section header, it begins with {head[:4].hex()}", offset)
        kind, length = struct.unpack(order + "II", head)
        if not MIN_BLOCK + len(start) <= length <= MAX_BLOCK or length % 4:
            raise CaptureError(f"a block cannot have {length:,} bytes", offset)
        rest = file.read(length - 8 - len(start))
        if len(rest) < length - 8 - len(start):
            raise CaptureError("the last block is cut", offset)
        if rest[-4:] != head[4:]:
            raise CaptureError("a block's length differs at its two ends", offset)
        reader.order = order  # only now: of a section whose header is lost nothing is read
        yield PcapngBlock(kind, start + rest[:-4], order, offset)
        offset += length


def _section(block: PcapngBlock) -> Section:
    if len(block.body) < 16:
        raise CaptureError("a section header is too short", block.offset)
    major, minor = struct.unpack_from(block.order + "HH", block.body, 4)
    if major != 1:
        raise CaptureError(f"version {major}.{minor} of pcapng is not supported", block.offset)
    comments, custom, _ = _texts(block, 16)
    return Section(custom, comments, block.offset)


def _interface(block: PcapngBlock) -> _Interface:
    if len(block.body) < 8:
        raise CaptureError("an interface is too short", block.offset)
    link_type, _, snap_length = struct.unpack_from(block.order + "HHI", block.body)
    unit, time_offset = _MICROSECONDS, 0
    for code, value in _options(block, 8):
        if code == OPTION_TIME_UNIT and len(value) == 1:
            unit = value
        elif code == OPTION_TIME_OFFSET and len(value) == 8:
            time_offset = struct.unpack(block.order + "q", value)[0]
    # The first bit chooses between a power of two and a power of ten.
    units = (2 if unit[0] & 0x80 else 10) ** (unit[0] & 0x7F)
    return _Interface(link_type, snap_length, units, time_offset)


def _packet(block: PcapngBlock, interfaces: list[_Interface]) -> Packet:
    """Return the packet of an enhanced or of an obsolete packet block."""
    if len(block.body) < 20:
        raise CaptureError("a packet's block is too short", block.offset)
    # The obsolete block has a number of dropped packets in half of the interface's word.
    fields = "IIIII" if block.kind == ENHANCED_PACKET else "H2xIIII"
    number, high, low, length, _ = struct.unpack_from(block.order + fields, block.body)
    if number >= len(interfaces):
        raise CaptureError(f"a packet of interface {number}, which is unknown", block.offset)
    if length > len(block.body) - 20:
        raise CaptureError("a packet is longer than its block", block.offset)
    interface = interfaces[number]
    comments, custom, dropped = _texts(block, 20 + length + -length % 4)
    if block.kind == PACKET:
        dropped = int(struct.unpack_from(block.order + "2xH", block.body)[0])
        dropped = 0 if dropped == _UNKNOWN_DROPS else dropped
    return Packet(
        interface.time_ns(high << 32 | low),
        interface.link_type,
        block.body[20 : 20 + length],
        block.offset,
        comments,
        custom,
        dropped,
        number,
    )


def _simple_packet(block: PcapngBlock, interfaces: list[_Interface]) -> Packet:
    if not interfaces:
        raise CaptureError("a packet of interface 0, which is unknown", block.offset)
    if len(block.body) < 4:
        raise CaptureError("a packet's block is too short", block.offset)
    interface = interfaces[0]
    # The block holds the packet's length on the wire. What was kept follows from the snap length.
    length = struct.unpack_from(block.order + "I", block.body)[0]
    if interface.snap_length:
        length = min(length, interface.snap_length)
    if length > len(block.body) - 4:
        raise CaptureError("a packet is longer than its block", block.offset)
    return Packet(0, interface.link_type, block.body[4 : 4 + length], block.offset)


def _statistics(block: PcapngBlock, interfaces: list[_Interface]) -> Statistics | None:
    """Return what a block of statistics says; a malformed one must not end the reading."""
    if len(block.body) < 12:
        return None
    number, high, low = struct.unpack_from(block.order + "III", block.body)
    if number >= len(interfaces):
        return None
    try:
        options, custom = list(_options(block, 12)), _texts(block, 12)[1]
    except CaptureError:
        return None
    counts: dict[str, int] = {
        _STATISTICS_COUNTS[code]: struct.unpack(block.order + "Q", value)[0]
        for code, value in options
        if code in _STATISTICS_COUNTS and len(value) == 8
    }
    return Statistics(
        time_ns=interfaces[number].time_ns(high << 32 | low),
        offset=block.offset,
        interface=number,
        custom=custom,
        **counts,
    )


def _texts(block: PcapngBlock, start: int) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """Return a block's comments and lbcproxy's own texts, and how many packets were dropped."""
    if start >= len(block.body):
        return (), (), 0
    comments, custom, dropped = [], [], 0
    own = struct.pack(block.order + "I", PEN)
    for code, value in _options(block, start):
        if code == OPTION_COMMENT:
            comments.append(value.decode(errors="replace"))
        elif code == OPTION_CUSTOM and value[:4] == own:
            custom.append(value[4:].decode(errors="replace"))
        elif code == _OPTION_DROP_COUNT and len(value) == 8:
            dropped = struct.unpack(block.order + "Q", value)[0]
    return tuple(comments), tuple(custom), dropped


def _options(block: PcapngBlock, start: int) -> Iterator[tuple[int, bytes]]:
    """Return the options of a block, from an index into its body on."""
    body = block.body
    while start + 4 <= len(body):
        code, length = struct.unpack_from(block.order + "HH", body, start)
        if code == 0:
            return
        start += 4
        if length > len(body) - start:
            raise CaptureError(f"option {code} is longer than its block", block.offset)
        yield code, body[start : start + length]
        start += length + -length % 4
