"""TCP segments from captured packets, and raw IP packets from TCP segments.

Dissecting believes no length: bytes that are not one whole TCP segment give None, never an
exception. IP fragments are not put together (TCP avoids them); they show as missing bytes.

Building makes packets that never were on a wire, for tools that want to see TCP. Wireshark does
not verify TCP checksums by default and computing them costs most of the time, so they are zero.
A SYN carries the largest window scale: the window of every other packet is then 1 GiB, which no
analysis can mistake for a full one.
"""

import ipaddress
import struct
from collections.abc import Callable
from functools import lru_cache

from lbcproxy.capture.packet import ACK, FIN, SYN, Packet, Segment
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import CaptureError

__all__ = ["LINK_RAW", "MAX_PAYLOAD", "Route", "build", "dissect"]

LINK_RAW = 101
# What fits an IPv4 packet with two headers without options; IPv6 would have room for 20 more.
MAX_PAYLOAD = 65_495

_LINK_ETHERNET = 1
_ETHERTYPES_IP = frozenset({0x0800, 0x86DD})
_ETHERTYPES_TAG = frozenset({0x8100, 0x88A8, 0x9100})
_PROTOCOL_TCP = 6
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION = 0, 43, 44, 60

_IPV4 = struct.Struct(">BBHHHBBH8s")
_IPV6 = struct.Struct(">IHBB32s")
_TCP = struct.Struct(">4sIIBBHHH")
_WINDOW = 0xFFFF
_DONT_FRAGMENT = 0x4000
_HOPS = 64
# Maximum segment size 65,495; one byte of padding; window scale 14.
_SYN_OPTIONS = struct.pack(">BBHBBBB", 2, 4, MAX_PAYLOAD, 1, 3, 3, 14)
_UNKNOWN_HOST = ipaddress.IPv4Address(0)
_MAPPED = bytes(10) + b"\xff\xff"


class Route:
    """The headers of one direction of a connection, ready but for what each packet changes.

    IPv4 where both hosts are, else IPv6 with IPv4 hosts mapped into it; a host that is no
    address (a UNIX socket, a transport of a test) is 0.0.0.0. `ends` is the same for both
    directions, and for no other connection at the same time.
    """

    __slots__ = ("_addresses", "_ports", "_sum", "ends")

    def __init__(self, source: Endpoint, target: Endpoint) -> None:
        hosts = [_packed(source.host), _packed(target.host)]
        if len(hosts[0]) != len(hosts[1]):
            hosts = [_MAPPED + host if len(host) == 4 else host for host in hosts]
        self._addresses = b"".join(hosts)
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

    @property
    def _is_ipv4(self) -> bool:
        return len(self._addresses) == 8

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


def dissect(packet: Packet) -> Segment | None:
    """Find the TCP segment in a packet, or None if there is not one whole.

    Raises CaptureError for a link type nobody taught it, since then no packet will ever do.
    """
    link = _LINKS.get(packet.link_type)
    if link is None:
        known = ", ".join(str(number) for number in sorted(_LINKS))
        raise CaptureError(
            f"packets of link type {packet.link_type} are not understood, only of {known}",
            packet.offset,
        )
    data = packet.data
    start = link(data)
    if start is None or start >= len(data):
        return None
    version = data[start] >> 4
    if version == 4:
        return _ipv4(data, start)
    return _ipv6(data, start) if version == 6 else None


def _ethernet(data: bytes) -> int | None:
    """Where the IP packet begins in an Ethernet frame, behind any VLAN tags."""
    start = 14
    while int.from_bytes(data[start - 2 : start]) in _ETHERTYPES_TAG:
        start += 4
    return start if int.from_bytes(data[start - 2 : start]) in _ETHERTYPES_IP else None


def _raw(_data: bytes) -> int | None:
    """Where the IP packet begins where there is nothing before it."""
    return 0


def _loopback(_data: bytes) -> int | None:
    """Where the IP packet begins behind BSD's loopback header."""
    return 4


def _cooked(data: bytes) -> int | None:
    """Where the IP packet begins in Linux's cooked form, as of `tcpdump -i any` in former days."""
    return 16 if int.from_bytes(data[14:16]) in _ETHERTYPES_IP else None


def _cooked2(data: bytes) -> int | None:
    """Where the IP packet begins in the second cooked form."""
    return 20 if int.from_bytes(data[:2]) in _ETHERTYPES_IP else None


# Each tells where the IP packet begins in the bytes of a link type, or None if there is none.
_LINKS: dict[int, Callable[[bytes], int | None]] = {
    0: _loopback,
    _LINK_ETHERNET: _ethernet,
    12: _raw,
    14: _raw,
    LINK_RAW: _raw,
    108: _loopback,
    113: _cooked,
    228: _raw,
    229: _raw,
    276: _cooked2,
}


def _ipv4(data: bytes, start: int) -> Segment | None:
    """Find the segment in an IPv4 packet."""
    if len(data) - start < 20:
        return None
    size = (data[start] & 0x0F) * 4
    length = int.from_bytes(data[start + 2 : start + 4])
    # 0 is what a network card that cuts segments itself leaves behind: the rest is the packet.
    end = start + length if length else len(data)
    fragment = int.from_bytes(data[start + 6 : start + 8]) & 0x3FFF
    if size < 20 or fragment or data[start + 9] != _PROTOCOL_TCP:
        return None
    hosts = data[start + 12 : start + 16], data[start + 16 : start + 20]
    return _tcp(data, start + size, end, *hosts)


def _ipv6(data: bytes, start: int) -> Segment | None:
    """Find the segment in an IPv6 packet, behind any extension headers."""
    if len(data) - start < 40:
        return None
    length = int.from_bytes(data[start + 4 : start + 6])
    end = start + 40 + length if length else len(data)
    following, place = data[start + 6], start + 40
    while following != _PROTOCOL_TCP:
        if min(end, len(data)) - place < 8:
            return None
        if following in (_HOP_BY_HOP, _ROUTING, _DESTINATION):
            size = (data[place + 1] + 1) * 8
        elif following == _FRAGMENT and not int.from_bytes(data[place + 2 : place + 4]) & 0xFFF9:
            size = 8
        else:
            return None
        following, place = data[place], place + size
    hosts = data[start + 8 : start + 24], data[start + 24 : start + 40]
    return _tcp(data, place, end, *hosts)


def _tcp(data: bytes, start: int, end: int, source: bytes, target: bytes) -> Segment | None:
    """Read the segment whose header begins at `start`.

    A capture may have cut packets to some length: what there is of the payload is given, and the
    rest is missing. An end behind missing bytes is none.
    """
    cut = end > len(data)
    end = min(end, len(data))
    if end - start < 20:
        return None
    ports, sequence, acknowledgment, size, flags, *_ = _TCP.unpack_from(data, start)
    size = (size >> 4) * 4
    if size < 20 or start + size > end:
        return None
    return Segment(
        _endpoint(source, ports[:2]),
        _endpoint(target, ports[2:]),
        sequence,
        acknowledgment if flags & ACK else 0,
        flags & ~FIN if cut else flags,
        data[start + size : end],
    )


# The same few addresses come again and again, and reading them is slow.
@lru_cache(maxsize=4096)
def _endpoint(address: bytes, port: bytes) -> Endpoint:
    host = ipaddress.ip_address(address)
    # Mapped addresses stand for IPv4 hosts; their own text differs between Python versions.
    if isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped is not None:
        host = host.ipv4_mapped
    return Endpoint(str(host), int.from_bytes(port))


def _packed(host: str) -> bytes:
    try:
        return ipaddress.ip_address(host).packed
    except ValueError:
        return _UNKNOWN_HOST.packed
