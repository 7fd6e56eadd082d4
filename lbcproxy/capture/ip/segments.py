"""TCP segments from captured packets, and raw IP packets from TCP segments.

Dissecting believes no length: bytes that are not one whole TCP segment give None, never an
exception, and are counted.

Building makes packets that never were on a wire, for tools that want to see TCP. Wireshark does
not verify TCP checksums by default and computing them costs most of the time, so they are zero.
A SYN carries the largest window scale: the window of every other packet is then 1 GiB, which no
analysis can mistake for a full one.
"""

import struct

from lbcproxy.capture.dropped import Dropped
from lbcproxy.capture.ip.fragments import Fragments
from lbcproxy.capture.ip.links import LINK_RAW
from lbcproxy.capture.ip.packets import find_tcp
from lbcproxy.capture.ip.protocols import Unread, cut, malformed
from lbcproxy.capture.ip.synthetic import endpoint_of, packed
from lbcproxy.capture.packet import ACK, FIN, SYN, Packet, Segment
from lbcproxy.endpoint import Endpoint

__all__ = ["LINK_RAW", "MAX_PAYLOAD", "Route", "build", "dissect"]

# What fits an IPv4 packet with two headers without options; IPv6 would have room for 20 more.
MAX_PAYLOAD = 65_495

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
    """The headers of one direction of a connection, ready but for what each packet changes.

    IPv4 where both hosts are, otherwise IPv6 with IPv4 hosts mapped into it; a host that is not an
    address gets one of its own. `ends` is the same for both directions; it has one member where
    both ends are the same.
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
        # For the checksum of IPv4: the sum over a header whose length is not known yet.
        self._sum = sum(struct.unpack(">10H", self._ipv4(0, 0))) if self._is_ipv4 else 0

    def headers(self, sequence: int, acknowledgment: int, flags: int, length: int) -> bytes:
        """Build the IP and TCP headers of a segment whose payload has this length."""
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
        # The header's size stands in words in the upper four bits: size / 4 << 4.
        tcp = _TCP.pack(self._ports, sequence, acknowledgment, size << 2, flags, _WINDOW, 0, 0)
        return ip + tcp + options

    def _ipv4(self, total: int, check: int) -> bytes:
        return _IPV4.pack(
            0x45, 0, total, 0, _DONT_FRAGMENT, _HOPS, _PROTOCOL_TCP, check, self._addresses
        )


def build(segment: Segment) -> bytes:
    """Build the raw IP packet of a segment: IPv4 or IPv6 by its addresses, no link layer."""
    headers = Route(segment.source, segment.target).headers(
        segment.sequence, segment.acknowledgment, segment.flags, len(segment.payload)
    )
    return headers + segment.payload


def dissect(
    packet: Packet, fragments: Fragments | None = None, dropped: Dropped | None = None
) -> Segment | None:
    """Find the TCP segment in a packet, or None if there is not one that can be read.

    With `fragments`, the last fragment of an IP packet that came in several gives the segment.
    `dropped` counts the packets that are not read.
    """
    try:
        found = find_tcp(packet.link_type, packet.data, fragments)
        return None if found is None else _segment(*found)
    except Unread as unread:
        if dropped is not None:
            dropped.add(unread.reason, unread.detail)
        return None


def _segment(data: bytes, start: int, end: int, source: bytes, target: bytes) -> Segment:
    """Read the segment whose header begins at `start`.

    A capture may have cut packets to some length: what there is of the payload is given, and the
    rest is missing. An end of the stream after missing bytes is left out.
    """
    is_cut = end > len(data)
    there = min(end, len(data))
    if there - start < 20:
        raise malformed("TCP") if end - start < 20 else cut("TCP")
    ports, sequence, acknowledgment, size, flags, window, *_ = _TCP.unpack_from(data, start)
    size = (size >> 4) * 4
    if size < 20 or start + size > end:
        raise malformed("TCP")
    if start + size > there:
        raise cut("TCP")
    return Segment(
        endpoint_of(source, ports[:2]),
        endpoint_of(target, ports[2:]),
        sequence,
        acknowledgment if flags & ACK else 0,
        flags & ~FIN if is_cut else flags,
        data[start + size : there],
        window,
        _window_scale(data[start + 20 : start + size]) if flags & SYN else None,
    )


def _window_scale(options: bytes) -> int | None:
    """Find the window scale in the options of a SYN; RFC 7323 allows at most 14."""
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
