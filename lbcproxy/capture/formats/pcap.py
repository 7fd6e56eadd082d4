"""Classic pcap, as tcpdump writes it: either byte order, micro- or nanoseconds."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from lbcproxy.capture.packet import Packet
from lbcproxy.errors import CaptureError

__all__ = ["NAME", "SUFFIXES", "matches", "read"]

NAME = "pcap"
SUFFIXES = (".pcap", ".cap", ".dmp")

# The first four bytes say the byte order and how many nanoseconds a fraction's unit has.
_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_FILE_HEADER = 24
_RECORD_HEADER = 16
# Far above any packet: a longer one is damage, and must not be allocated for.
_MAX_RECORD = 64 * 2**20


def matches(head: bytes) -> bool:
    """Whether a file that begins so is a pcap file."""
    return head[:4] in _MAGICS


def read(file: BinaryIO) -> Iterator[Packet]:
    """Give the packets one after another; CaptureError where the file is damaged or cut."""
    head = file.read(_FILE_HEADER)
    if not matches(head):
        raise CaptureError(f"no pcap file: it begins with {head[:4].hex()}", 0)
    if len(head) < _FILE_HEADER:
        raise CaptureError("the file header is cut", 0)
    order, unit = _MAGICS[head[:4]]
    # The upper half of the link type's word may tell the length of a frame check sequence.
    link_type = struct.unpack_from(order + "I", head, 20)[0] & 0xFFFF
    record = struct.Struct(order + "IIII")
    offset = _FILE_HEADER
    while header := file.read(_RECORD_HEADER):
        if len(header) < _RECORD_HEADER:
            raise CaptureError("the header of the last packet is cut", offset)
        seconds, fraction, length, _ = record.unpack(header)
        if length > _MAX_RECORD:
            raise CaptureError(f"a packet of {length:,} bytes cannot be", offset)
        data = file.read(length)
        if len(data) < length:
            raise CaptureError(f"the last packet is cut: {len(data):,} of {length:,} bytes", offset)
        yield Packet(seconds * 1_000_000_000 + fraction * unit, link_type, data, offset)
        offset += _RECORD_HEADER + length
