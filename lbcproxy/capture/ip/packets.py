"""IP packets: finds the TCP segment in a packet, through link layers, fragments and tunnels.

No length is trusted. Packets without a readable segment raise `NotDissected` with a reason, which
the caller counts. Fragments are reassembled if the caller passes a `Fragments`.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from lbcproxy.capture.dropped import DropReason
from lbcproxy.capture.ip.encapsulation import BY_ETHERTYPE, BY_PROTOCOL, strip
from lbcproxy.capture.ip.fragments import Fragments
from lbcproxy.capture.ip.links import strip_link
from lbcproxy.capture.ip.protocols import (
    IPV4,
    IPV6,
    NotDissected,
    malformed,
    raise_for_ethertype,
    raise_for_protocol,
    truncated,
)

__all__ = ["MAX_DEPTH", "TCP", "SegmentSlice", "find_tcp"]

TCP, _UDP = 6, 17
MAX_DEPTH = 16
"""Nested layers, not counting IP; nobody has more of them in earnest."""

SegmentSlice = tuple[bytes, int, int, bytes, bytes]
"""A TCP segment inside bytes: the bytes, its start, its end according to IP, source and target.

The end is beyond the bytes if the capture has truncated the packet.
"""

_IPV4 = struct.Struct(">BxHHHxB2x4s4s")
_IPV6 = struct.Struct(">4xHBx16s16s")
_FRAGMENT = struct.Struct(">BxHI")

_IPV6_FRAGMENT, _AUTHENTICATION = 44, 51
# Hop-by-hop, routing, destination, mobility, HIP, Shim6 (RFC 6564 has the form of all).
_EXTENSIONS = frozenset({0, 43, 60, 135, 139, 140})
_HEADERS = _EXTENSIONS | {_IPV6_FRAGMENT, _AUTHENTICATION}


def find_tcp(link_type: int, data: bytes, fragments: Fragments | None) -> SegmentSlice | None:
    """Return the TCP segment in a packet; None if it waits for other fragments.

    Raises `NotDissected` if the packet has no segment that can be read.
    """
    ethertype, start = strip_link(link_type, data)
    return _in_content(ethertype, data, start, fragments, 0)


def _in_content(
    ethertype: int, data: bytes, start: int, fragments: Fragments | None, depth: int
) -> SegmentSlice | None:
    """Find the segment in what has this ethertype."""
    while ethertype not in (IPV4, IPV6):
        layer = BY_ETHERTYPE.get(ethertype)
        if layer is None:
            raise_for_ethertype(ethertype)
        depth = _deeper(depth)
        ethertype, start = strip(layer, data, start)
    if start >= len(data):
        raise truncated("IP")
    # The version decides: not all link layers have an ethertype.
    version = data[start] >> 4
    if version == 4:
        return _ipv4(data, start, fragments, depth)
    if version == 6:
        return _ipv6(data, start, fragments, depth)
    raise malformed("IP")


def _deeper(depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise NotDissected(DropReason.ENCAPSULATION, f"more than {MAX_DEPTH} layers")
    return depth + 1


def _ipv4(data: bytes, start: int, fragments: Fragments | None, depth: int) -> SegmentSlice | None:
    if len(data) - start < 20:
        raise truncated("IPv4")
    first, length, name, field, protocol, source, target = _IPV4.unpack_from(data, start)
    size = (first & 0x0F) * 4
    # With segmentation offload the length is 0: the packet is all the rest.
    end = start + length if length else len(data)
    if size < 20 or start + size > end:
        raise malformed("IPv4")
    if field & 0x3FFF:
        # The low 13 bits are the offset in units of 8 bytes; the flag above: more fragments.
        key = source, target, name.to_bytes(2), protocol.to_bytes(1)
        fragment = _FragmentHeader(key, protocol, (field & 0x1FFF) * 8, bool(field & 0x2000))
        payload = _reassemble(fragment, data, start + size, end, fragments)
        if payload is None:
            return None
        data, start, size, end = payload, 0, 0, len(payload)
    if protocol == TCP:
        return data, start + size, end, source, target
    return _in_payload(protocol, (data, start + size, end, source, target), fragments, depth)


def _ipv6(data: bytes, start: int, fragments: Fragments | None, depth: int) -> SegmentSlice | None:
    if len(data) - start < 40:
        raise truncated("IPv6")
    length, protocol, source, target = _IPV6.unpack_from(data, start)
    end = start + 40 + length if length else len(data)
    return _in_payload(protocol, (data, start + 40, end, source, target), fragments, depth)


def _in_payload(
    protocol: int, found: SegmentSlice, fragments: Fragments | None, depth: int
) -> SegmentSlice | None:
    """Find the segment in the payload of IP, after extension headers and in tunnels."""
    data, start, end, source, target = found
    while protocol != TCP:
        if protocol in _HEADERS and min(end, len(data)) - start < 8:
            raise malformed("IP") if end - start < 8 else truncated("IP")
        if protocol in _EXTENSIONS:
            protocol, start = data[start], start + (data[start + 1] + 1) * 8
        elif protocol == _AUTHENTICATION:
            protocol, start = data[start], start + (data[start + 1] + 2) * 4
        elif protocol == _IPV6_FRAGMENT:
            protocol, field, name = _FRAGMENT.unpack_from(data, start)
            start += 8
            if field & 0xFFF9:
                # The offset, which is a multiple of 8, and in the lowest bit whether more follow.
                key = source, target, name.to_bytes(4)
                fragment = _FragmentHeader(key, protocol, field & 0xFFF8, bool(field & 1))
                payload = _reassemble(fragment, data, start, end, fragments)
                if payload is None:
                    return None
                data, start, end = payload, 0, len(payload)
        else:
            return _in_tunnel(protocol, data[:end], start, fragments, depth)
    return data, start, end, source, target


def _in_tunnel(
    protocol: int, data: bytes, start: int, fragments: Fragments | None, depth: int
) -> SegmentSlice | None:
    """Find the segment in a packet inside this one."""
    layer = BY_PROTOCOL.get(protocol)
    if layer is None:
        raise_for_protocol(protocol)
    ethertype, start = strip(layer, data, start)
    return _in_content(ethertype, data, start, fragments, _deeper(depth))


class _FragmentHeader(NamedTuple):
    """The fields of an IP header that are about fragmentation."""

    key: tuple[bytes, ...]
    """What the fragments of one packet have in common."""
    protocol: int
    offset: int
    """In bytes."""
    more: bool


def _reassemble(
    fragment: _FragmentHeader, data: bytes, start: int, end: int, fragments: Fragments | None
) -> bytes | None:
    """Add a fragment and return the payload of its packet, once that is complete.

    Unsupported protocols are not reassembled. The first fragment of UDP shows whether it is a
    tunnel, so UDP is reassembled only if its first fragment comes first.
    """
    protocol, offset = fragment.protocol, fragment.offset
    if protocol == _UDP and offset == 0:
        strip(BY_PROTOCOL[_UDP], data, start)
    elif protocol == _UDP and (fragments is None or fragment.key not in fragments):
        raise NotDissected(DropReason.NOT_TCP, "UDP")
    elif protocol not in _REASSEMBLED:
        raise_for_protocol(protocol)
    if end > len(data) or not Fragments.is_valid(offset, end - start, more=fragment.more):
        raise NotDissected(DropReason.FRAGMENT_UNUSABLE, "")
    if fragments is None:
        return None
    return fragments.add(fragment.key, offset, data[start:end], more=fragment.more)


_REASSEMBLED = BY_PROTOCOL.keys() | _HEADERS | {TCP}
