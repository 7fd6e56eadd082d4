"""IP packets: finds the TCP in a packet, through link layers, fragments and tunnels.

No length is believed. What is not read raises `Unread`, which says what it is; the caller counts
it. Fragments are put together if the caller has a place for them to wait.
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
    Unread,
    cut,
    malformed,
    unread_ethertype,
    unread_protocol,
)

__all__ = ["MAX_DEPTH", "TCP", "Carried", "find_tcp"]

TCP, _UDP = 6, 17
MAX_DEPTH = 16
"""Layers in each other, without those of IP; more of them are somebody's joke."""

Carried = tuple[bytes, int, int, bytes, bytes]
"""Where the TCP segment stands: bytes, its beginning, its end as IP says it, source and target.

The end is beyond the bytes if the capture has cut the packet.
"""

_IPV4 = struct.Struct(">BxHHHxB2x4s4s")
_IPV6 = struct.Struct(">4xHBx16s16s")
_FRAGMENT = struct.Struct(">BxHI")

_IPV6_FRAGMENT, _AUTHENTICATION = 44, 51
# Hop-by-hop, routing, destination, mobility, HIP, Shim6 (RFC 6564 has the form of all).
_EXTENSIONS = frozenset({0, 43, 60, 135, 139, 140})
_HEADERS = _EXTENSIONS | {_IPV6_FRAGMENT, _AUTHENTICATION}


def find_tcp(link_type: int, data: bytes, fragments: Fragments | None) -> Carried | None:
    """Find the TCP segment in a packet; None if it waits for other fragments.

    Raises `Unread` if there is none that is read.
    """
    kind, start = strip_link(link_type, data)
    return _content(kind, data, start, fragments, 0)


def _content(
    kind: int, data: bytes, start: int, fragments: Fragments | None, depth: int
) -> Carried | None:
    """Read on from what an ethertype announces."""
    while kind not in (IPV4, IPV6):
        layer = BY_ETHERTYPE.get(kind)
        if layer is None:
            unread_ethertype(kind)
        depth = _deeper(depth)
        kind, start = strip(layer, data, start)
    if start >= len(data):
        raise cut("IP")
    # The version says which it is: not all link layers do.
    version = data[start] >> 4
    if version == 4:
        return _ipv4(data, start, fragments, depth)
    if version == 6:
        return _ipv6(data, start, fragments, depth)
    raise malformed("IP")


def _deeper(depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise Unread(DropReason.ENCAPSULATION, f"more than {MAX_DEPTH} layers")
    return depth + 1


def _ipv4(data: bytes, start: int, fragments: Fragments | None, depth: int) -> Carried | None:
    if len(data) - start < 20:
        raise cut("IPv4")
    first, length, name, field, protocol, source, target = _IPV4.unpack_from(data, start)
    size = (first & 0x0F) * 4
    # 0 is what a network card that cuts segments itself leaves behind: the rest is the packet.
    end = start + length if length else len(data)
    if size < 20 or start + size > end:
        raise malformed("IPv4")
    if field & 0x3FFF:
        # The place of a fragment in units of 8 bytes, and above it whether more follow.
        key = source, target, name.to_bytes(2), protocol.to_bytes(1)
        piece = _Piece(key, protocol, (field & 0x1FFF) * 8, bool(field & 0x2000))
        whole = _put_together(piece, data, start + size, end, fragments)
        if whole is None:
            return None
        data, start, size, end = whole, 0, 0, len(whole)
    if protocol == TCP:
        return data, start + size, end, source, target
    return _carried(protocol, (data, start + size, end, source, target), fragments, depth)


def _ipv6(data: bytes, start: int, fragments: Fragments | None, depth: int) -> Carried | None:
    if len(data) - start < 40:
        raise cut("IPv6")
    length, protocol, source, target = _IPV6.unpack_from(data, start)
    end = start + 40 + length if length else len(data)
    return _carried(protocol, (data, start + 40, end, source, target), fragments, depth)


def _carried(
    protocol: int, found: Carried, fragments: Fragments | None, depth: int
) -> Carried | None:
    """Read on from what IP holds: extension headers, then TCP or another packet in this one."""
    data, start, end, source, target = found
    while protocol != TCP:
        if protocol in _HEADERS and min(end, len(data)) - start < 8:
            raise malformed("IP") if end - start < 8 else cut("IP")
        if protocol in _EXTENSIONS:
            protocol, start = data[start], start + (data[start + 1] + 1) * 8
        elif protocol == _AUTHENTICATION:
            protocol, start = data[start], start + (data[start + 1] + 2) * 4
        elif protocol == _IPV6_FRAGMENT:
            protocol, field, name = _FRAGMENT.unpack_from(data, start)
            start += 8
            if field & 0xFFF9:
                # The place, which is a multiple of 8, and below it whether more follow.
                key = source, target, name.to_bytes(4)
                piece = _Piece(key, protocol, field & 0xFFF8, bool(field & 1))
                whole = _put_together(piece, data, start, end, fragments)
                if whole is None:
                    return None
                data, start, end = whole, 0, len(whole)
        else:
            return _tunnelled(protocol, data[:end], start, fragments, depth)
    return data, start, end, source, target


def _tunnelled(
    protocol: int, data: bytes, start: int, fragments: Fragments | None, depth: int
) -> Carried | None:
    """Read on in a packet that is inside this one."""
    layer = BY_PROTOCOL.get(protocol)
    if layer is None:
        unread_protocol(protocol)
    kind, start = strip(layer, data, start)
    return _content(kind, data, start, fragments, _deeper(depth))


class _Piece(NamedTuple):
    """What a fragment says of itself."""

    key: tuple[bytes, ...]
    """What the fragments of one packet have in common."""
    protocol: int
    place: int
    more: bool


def _put_together(
    piece: _Piece, data: bytes, start: int, end: int, fragments: Fragments | None
) -> bytes | None:
    """Take a fragment; return all that its packet holds, once that is here.

    Packets that would not be read are not waited for: of UDP, whose first fragment says whether it
    is a tunnel, those whose first fragment does not come first.
    """
    protocol, place = piece.protocol, piece.place
    if protocol == _UDP and place == 0:
        strip(BY_PROTOCOL[_UDP], data, start)
    elif protocol == _UDP and (fragments is None or piece.key not in fragments):
        raise Unread(DropReason.NOT_TCP, "UDP")
    elif protocol not in _WAITED_FOR:
        unread_protocol(protocol)
    if end > len(data) or not Fragments.is_sound(place, end - start, more=piece.more):
        raise Unread(DropReason.FRAGMENT_UNUSABLE, "")
    if fragments is None:
        return None
    return fragments.add(piece.key, place, data[start:end], more=piece.more)


_WAITED_FOR = BY_PROTOCOL.keys() | _HEADERS | {TCP}
