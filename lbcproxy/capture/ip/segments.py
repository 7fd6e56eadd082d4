"""TCP segments from captured packets, and raw IP packets from TCP segments.

Dissecting trusts no length. For bytes that are not a complete TCP segment it returns None and
counts them; it never raises.

Building makes packets that were never on a wire, for tools that expect TCP. TCP checksums are zero:
computing them would take most of the time, and Wireshark does not verify them by default. A SYN has
the largest window scale, so that the window of every other packet is 1 GiB and never seems full.
"""

import struct

from lbcproxy.capture.dropped import Dropped
from lbcproxy.capture.ip.fragments import Fragments
from lbcproxy.capture.ip.links import LINK_RAW
from lbcproxy.capture.ip.packets import find_tcp
from lbcproxy.capture.ip.protocols import NotDissected, malformed, truncated
from lbcproxy.capture.ip.synthetic import endpoint_of, packed
from lbcproxy.capture.packet import ACK, FIN, SYN, Packet, Segment
from lbcproxy.endpoint import Endpoint

__all__ = ["LINK_RAW", "MAX_PAYLOAD", "Route", "build", "dissect"]

MAX_PAYLOAD = 65_495
"""Bytes that fit an IPv4 packet with both headers; an IPv6 packet would have room for 20 more."""

_PROTOCOL_TCP = 6

_IPV4 = struct.Struct(">BBHHHBBH8s")
_IPV6 = struct.Struct(">IHBB32s")
_TCP = struct.Struct(">4sIIBBHHH")
_WINDOW = 0xFFFF
_DONT_FRAGMENT = 0x4000
_HOPS = 64
# Maximum segment size 65,495; one byte of padding; window scale 14.
_SYN_OPTIONS = struct.pack(">BBHBBBB", 2, 4, MAX_PAYLOAD, 1, 3, 3, 14)
_MAPPED = bytes(10) + b"\xff\xff"


class Route:
    """The headers of one direction of a connection, except for the fields that vary.

    They are IPv4 if both hosts are, otherwise IPv6 with IPv4-mapped addresses. A host that is not
    an address gets one of its own. `ends` is the same for both directions; if both ends are the
    same, it has one member.
    """

    __slots__ = ("_addresses", "_is_ipv4", "_ports", "_sum", "ends")

    def __init__(self, source: Endpoint, target: Endpoint) -> None:
        hosts = [packed(source.host), packed(target.host)]
        if len(hosts[0]) != len(hosts[1]):
            hosts = [_MAPPED + host if len(host) == 4 else host for host in hosts]
        self._addresses = b"".join(hosts)
        self._is_ipv4 = len(self._addresses) == 8
        self._ports = struct.pack(">HH", source.port, target.port)
        self.ends = frozenset({hosts[0] + self._ports[:2], hosts[1] + self._ports[2:]})
        # For the IPv4 checksum: the sum of a header with length 0.
        self._sum = sum(struct.unpack(">10H", self._ipv4(0, 0))) if self._is_ipv4 else 0

    def headers(self, sequence: int, acknowledgment: int, flags: int, length: int) -> bytes:
        """Return the IP and TCP headers of a segment with a payload of this length."""
        options = _SYN_OPTIONS if flags & SYN else b""
        size = 20 + len(options)
        if size + length > MAX_PAYLOAD + 20:
            raise ValueError(f"{length:,} bytes do not fit one segment of {MAX_PAYLOAD:,}")
        if self._is_ipv4:
            check = self._sum + 20 + size + length
            check = (check & 0xFFFF) + (check >> 16)
            ip = self._ipv4(20 + size + length, ~(check + (check >> 16)) & 0xFFFF)
        else:
            ip = _IPV6.pack(6 << 28, size + length, _PROTOCOL_TCP, _HOPS, self._addresses)
        # The upper four bits are the header's size in words: size / 4 << 4.
        tcp = _TCP.pack(self._ports, sequence, acknowledgment, size << 2, flags, _WINDOW, 0, 0)
        return ip + tcp + options

    def _ipv4(self, total: int, check: int) -> bytes:
        return _IPV4.pack(
            0x45, 0, total, 0, _DONT_FRAGMENT, _HOPS, _PROTOCOL_TCP, check, self._addresses
        )


def build(segment: Segment) -> bytes:
    """Return the IP packet of a segment, IPv4 or IPv6 by its addresses, without a link layer."""
    headers = Route(segment.source, segment.target).headers(
        segment.sequence, segment.acknowledgment, segment.flags, len(segment.payload)
    )
    return headers + segment.payload


def dissect(
    packet: Packet, fragments: Fragments | None = None, dropped: Dropped | None = None
) -> Segment | None:
    """Return the TCP segment in a packet; None if it has none that can be read.

    Args:
        packet: A packet of any link type.
        fragments: Reassembles IP fragments: the last one of a packet returns the segment.
        dropped: Counts the packets that are not read.
    """
    try:
        found = find_tcp(packet.link_type, packet.data, fragments)
        return None if found is None else _segment(*found)
    except NotDissected as error:
        if dropped is not None:
            dropped.add(error.reason, error.detail)
        return None


def _segment(data: bytes, start: int, end: int, source: bytes, target: bytes) -> Segment:
    """Return the segment whose header is at `start`.

    A capture may truncate packets. Then the segment has the part of the payload that was captured,
    and no FIN, since that comes after the missing bytes.
    """
    is_truncated = end > len(data)
    captured = min(end, len(data))
    if captured - start < 20:
        raise malformed("TCP") if end - start < 20 else truncated("TCP")
    ports, sequence, acknowledgment, size, flags, window, *_ = _TCP.unpack_from(data, start)
    size = (size >> 4) * 4
    if size < 20 or start + size > end:
        raise malformed("TCP")
    if start + size > captured:
        raise truncated("TCP")
    return Segment(
        endpoint_of(source, ports[:2]),
        endpoint_of(target, ports[2:]),
        sequence,
        acknowledgment if flags & ACK else 0,
        flags & ~FIN if is_truncated else flags,
        data[start + size : captured],
        window,
        _window_scale(data[start + 20 : start + size]) if flags & SYN else None,
    )


def _window_scale(options: bytes) -> int | None:
    """Return the window scale in the options of a SYN; RFC 7323 allows at most 14."""
    at = 0
    while at < len(options) and (kind := options[at]) != 0:
        if kind == 1:  # padding of one byte
            at += 1
            continue
        size = options[at + 1] if at + 1 < len(options) else 0
        if size < 2 or at + size > len(options):
            return None
        if kind == 3 and size == 3:
            return min(options[at + 2], 14)
        at += size
    return None
