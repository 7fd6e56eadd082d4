"""The layers between a link layer and an IP packet, or between two IP packets.

Each layer is a function that accepts the bytes of a packet and the offset of its header. It returns
the ethertype of its content and the offset of that. If the header is truncated, it raises
IndexError or struct.error, or returns an offset beyond the end. If the content is known but not
supported, it raises `NotDissected`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from lbcproxy.capture.dropped import DropReason
from lbcproxy.capture.ip.protocols import (
    ETHERNET,
    IPV4,
    IPV6,
    MPLS,
    PPP,
    NotDissected,
    malformed,
    truncated,
)

__all__ = ["BY_ETHERTYPE", "BY_PROTOCOL", "Content", "Layer", "strip"]

Content = tuple[int, int]
"""The ethertype of what a layer holds, and the offset of that."""

_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")


class Layer(NamedTuple):
    """A protocol that carries others, and the function that reads its header."""

    name: str
    read: Callable[[bytes, int], Content]


def strip(layer: Layer, data: bytes, start: int) -> Content:
    """Read a layer's header; `NotDissected` if it is truncated or its content is not supported."""
    try:
        kind, content = layer.read(data, start)
    except (IndexError, struct.error):
        raise truncated(layer.name) from None
    if content > len(data):
        raise truncated(layer.name)
    return kind, content


def ethernet(data: bytes, start: int) -> Content:
    """Read Ethernet II, or IEEE 802.3, which has a length instead of the type."""
    return typed(data, start + 12, start + 14)


def typed(data: bytes, offset: int, content: int) -> Content:
    """Read any header that has an ethertype, or a length followed by LLC, at an offset."""
    (ethertype,) = _U16.unpack_from(data, offset)
    return (ethertype, content) if ethertype > _MAX_LENGTH else llc(data, content)


_MAX_LENGTH = 1500


def llc(data: bytes, start: int) -> Content:
    """Read LLC (IEEE 802.2), usually with SNAP (RFC 1042)."""
    target, source, control = struct.unpack_from("BBB", data, start)
    if (target, source) == (0xAA, 0xAA):
        return _snap(data, start + 3)
    if target == 0x06 and control == 0x03:
        return IPV4, start + 3
    name = _LLC_NAMES.get(target) or f"LLC 0x{target:02x}"
    raise NotDissected(DropReason.NOT_TCP, name)


def _snap(data: bytes, start: int) -> Content:
    organisation = data[start : start + 3]
    (kind,) = _U16.unpack_from(data, start + 3)
    if organisation in (b"\0\0\0", b"\0\0\xf8"):
        return kind, start + 5
    if organisation == b"\0\x80\xc2" and kind in (0x0001, 0x0007):
        return ETHERNET, start + 5  # RFC 2684, without the padding that ATM has
    name = _SNAP_NAMES.get((organisation, kind)) or f"SNAP {organisation.hex()} 0x{kind:04x}"
    raise NotDissected(DropReason.NOT_TCP, name)


_LLC_NAMES = {0x42: "STP", 0xE0: "IPX", 0xF0: "NetBIOS", 0xFE: "IS-IS", 0xFF: "IPX"}
_SNAP_NAMES = {
    (b"\0\0\x0c", 0x010B): "PVST+",
    (b"\0\0\x0c", 0x0111): "UDLD",
    (b"\0\0\x0c", 0x2000): "CDP",
    (b"\0\0\x0c", 0x2003): "VTP",
    (b"\0\0\x0c", 0x2004): "DTP",
    (b"\x08\0\x07", 0x809B): "AppleTalk",
}


def vlan(data: bytes, start: int) -> Content:
    """Read a VLAN tag (IEEE 802.1Q)."""
    return typed(data, start + 2, start + 4)


def pppoe(data: bytes, start: int) -> Content:
    """Read PPP over Ethernet (RFC 2516); only its session stage carries packets."""
    version, code = data[start], data[start + 1]
    if version != 0x11:
        raise malformed("PPPoE")
    if code != 0:
        raise NotDissected(DropReason.NOT_TCP, "PPPoE Discovery")
    return PPP, start + 6


def ppp(data: bytes, start: int) -> Content:
    """Read PPP (RFC 1661), with or without the header of RFC 1662; fields may be compressed."""
    if data[start : start + 2] == b"\xff\x03":
        start += 2
    if data[start] & 1:
        number, start = data[start], start + 1
    else:
        (number,) = _U16.unpack_from(data, start)
        start += 2
    if (kind := _PPP.get(number)) is not None:
        return kind, start
    if number >= _PPP_CONTROL:
        raise NotDissected(DropReason.NOT_TCP, "PPP control")
    raise NotDissected(DropReason.ENCAPSULATION, _PPP_NAMES.get(number) or f"PPP 0x{number:04x}")


_PPP = {0x0021: IPV4, 0x0057: IPV6, 0x0281: MPLS, 0x0283: MPLS}
_PPP_CONTROL = 0x8000
_PPP_NAMES = {
    0x002D: "PPP with TCP headers compressed",
    0x002F: "PPP with TCP headers compressed",
    0x0031: "PPP bridging",
    0x003D: "PPP multilink",
    0x0053: "PPP encrypted",
    0x00FB: "PPP compressed",
    0x00FD: "PPP compressed",
}


def mpls(data: bytes, start: int) -> Content:
    """Read MPLS labels (RFC 3032); they do not name their content, so its first bits decide."""
    bottom = False
    while not bottom:
        bottom = bool(_U32.unpack_from(data, start)[0] & 0x100)
        start += 4
    version = data[start] >> 4
    if version in (4, 6):
        return IPV4 if version == 4 else IPV6, start
    if version == 1:
        raise NotDissected(DropReason.NOT_TCP, "MPLS associated channel")
    # A pseudowire (RFC 4448): Ethernet, after a control word if both ends agreed on one.
    (kind,) = _U16.unpack_from(data, start + 12)
    plain = version or kind in (IPV4, IPV6) or kind in BY_ETHERTYPE
    return ETHERNET, start if plain else start + 4


def gre(data: bytes, start: int) -> Content:
    """Read GRE (RFC 2784, 2890, 1701), or the version of it that PPTP uses (RFC 2637)."""
    flags, kind = struct.unpack_from(">HH", data, start)
    if flags & _GRE_VERSION == 1:
        if not flags & _GRE_SEQUENCE:
            raise NotDissected(DropReason.NOT_TCP, "GRE acknowledgments")
        return PPP, start + 12 + (4 if flags & _GRE_ACKNOWLEDGMENT else 0)
    if flags & _GRE_VERSION:
        raise malformed("GRE")
    start += 4 + 4 * bool(flags & (_GRE_CHECKSUM | _GRE_ROUTING))
    start += 4 * bool(flags & _GRE_KEY) + 4 * bool(flags & _GRE_SEQUENCE)
    if flags & _GRE_ROUTING:
        start = _after_routes(data, start)
    if kind == _ERSPAN:  # without a sequence number, it is type I, which has no header
        return ETHERNET, start + (8 if flags & _GRE_SEQUENCE else 0)
    if kind == _ERSPAN_3:
        return ETHERNET, start + (20 if data[start + 11] & 1 else 12)
    if kind not in (IPV4, IPV6) and kind not in BY_ETHERTYPE:
        raise NotDissected(DropReason.ENCAPSULATION, f"GRE 0x{kind:04x}")
    return kind, start


_GRE_CHECKSUM, _GRE_ROUTING, _GRE_KEY, _GRE_SEQUENCE = 0x8000, 0x4000, 0x2000, 0x1000
_GRE_ACKNOWLEDGMENT, _GRE_VERSION = 0x0080, 0x0007
_ERSPAN, _ERSPAN_3 = 0x88BE, 0x22EB


def _after_routes(data: bytes, start: int) -> int:
    """Return the offset after the source routes, the last of which is empty."""
    while True:
        family, _, length = struct.unpack_from(">HBB", data, start)
        start += 4 + length
        if not family and not length:
            return start


def udp(data: bytes, start: int) -> Content:
    """Read UDP that carries a tunnel, recognised by the destination port."""
    source, target = struct.unpack_from(">HH", data, start)
    start += 8
    if target in _VXLAN_PORTS and data[start : start + 1] == b"\x08":
        return ETHERNET, start + 8
    if target == _GENEVE_PORT and data[start] >> 6 == 0:
        return _U16.unpack_from(data, start + 2)[0], start + 8 + (data[start] & 0x3F) * 4
    name = _UDP_TUNNELS.get(target) or _UDP_TUNNELS.get(source)
    if name is not None:
        raise NotDissected(DropReason.ENCAPSULATION, name)
    raise NotDissected(DropReason.NOT_TCP, "UDP")


_VXLAN_PORTS = (4789, 8472)
"""The port of RFC 7348, and the one that Linux used before that RFC."""
_GENEVE_PORT = 6081
_UDP_TUNNELS = {
    1701: "L2TP",
    2152: "GTP-U",
    3544: "Teredo",
    4500: "ESP over UDP",
    51820: "WireGuard",
}


def _bridged(_data: bytes, start: int) -> Content:
    """Read EtherIP (RFC 3378): two bytes before an Ethernet frame."""
    return ETHERNET, start + 2


BY_ETHERTYPE: dict[int, Layer] = {
    ETHERNET: Layer("Ethernet", ethernet),
    MPLS: Layer("MPLS", mpls),
    0x8848: Layer("MPLS", mpls),
    PPP: Layer("PPP", ppp),
    0x8100: Layer("802.1Q", vlan),
    0x88A8: Layer("802.1ad", vlan),
    0x9100: Layer("802.1ad", vlan),
    0x8864: Layer("PPPoE", pppoe),
}
"""Layers by ethertype; for any other ethertype, call `raise_for_ethertype`."""

BY_PROTOCOL: dict[int, Layer] = {
    4: Layer("IPv4", lambda _, start: (IPV4, start)),
    17: Layer("UDP", udp),
    41: Layer("IPv6", lambda _, start: (IPV6, start)),
    47: Layer("GRE", gre),
    94: Layer("IPv4", lambda _, start: (IPV4, start)),
    97: Layer("EtherIP", _bridged),
    137: Layer("MPLS", lambda _, start: (MPLS, start)),
    143: Layer("Ethernet", lambda _, start: (ETHERNET, start)),
}
"""Layers by protocol number of IP; for any other number, call `raise_for_protocol`."""
