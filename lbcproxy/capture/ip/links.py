"""Link types: the header before the IP packet in the packets of a capture.

The numbers are those of pcap files and pcapng interfaces (tcpdump.org/linktypes.html). To support
another link type, add a line to `_LAYERS`.
"""

import struct
from collections.abc import Callable

from lbcproxy.capture.dropped import DropReason
from lbcproxy.capture.ip.encapsulation import (
    Content,
    Layer,
    ethernet,
    llc,
    mpls,
    ppp,
    pppoe,
    strip,
    typed,
)
from lbcproxy.capture.ip.protocols import IPV4, NotDissected, malformed

__all__ = ["LINK_RAW", "SUPPORTED", "link_name", "strip_link"]

LINK_RAW = 101


def strip_link(link_type: int, data: bytes) -> Content:
    """Return the ethertype of what a packet holds, and the offset of that.

    Raises `NotDissected` if the link type or its content is not supported, or the header is
    truncated.
    """
    layer = _LAYERS.get(link_type)
    if layer is None:
        raise NotDissected(DropReason.LINK_TYPE, link_name(link_type))
    return strip(layer, data, 0)


def link_name(link_type: int) -> str:
    """Return a link type for people: its number, and tcpdump's name for it, if it has one."""
    if (layer := _LAYERS.get(link_type)) is not None:
        return f"{link_type} ({layer.name})"
    name = "USER" + str(link_type - 147) if 147 <= link_type <= 162 else _NAMES.get(link_type)
    return str(link_type) if name is None else f"{link_type} ({name})"


def _ip_after(size: int) -> Callable[[bytes, int], Content]:
    """Return a function that skips a header of a fixed size.

    Some of these headers have the number of an address family, which differs between systems. The
    version in the IP header does not.
    """
    return lambda _, start: (IPV4, start + size)


def _cooked(data: bytes, start: int) -> Content:
    """Read Linux cooked capture v1, which `tcpdump -i any` used to write."""
    return typed(data, start + 14, start + 16)


def _cooked2(data: bytes, start: int) -> Content:
    """Read Linux cooked capture v2, which `tcpdump -i any` writes now."""
    return typed(data, start, start + 20)


def _serial_ppp(data: bytes, start: int) -> Content:
    """Read PPP in HDLC-like framing, or Cisco's HDLC, which some systems give the same number."""
    return _cisco_hdlc(data, start) if data[start] in (0x0F, 0x8F) else ppp(data, start)


def _cisco_hdlc(data: bytes, start: int) -> Content:
    return typed(data, start + 2, start + 4)


def _directed_ppp(data: bytes, start: int) -> Content:
    """Read PPP after a byte for the direction."""
    return ppp(data, start + 1)


def _pflog(data: bytes, start: int) -> Content:
    """Read OpenBSD's packet filter log; its header has its own length, without padding."""
    return IPV4, start + data[start] + -data[start] % 4


def _nflog(data: bytes, start: int) -> Content:
    """Read Linux's netfilter log: attributes, one of which is the packet.

    Numbers are in the byte order of the machine that wrote the file, which is recognised by the
    types, since these are small.
    """
    order = ">" if struct.unpack_from("<H", data, start + 6)[0] > 0xFF else "<"
    start += 4
    while True:
        size, kind = struct.unpack_from(order + "HH", data, start)
        if size < 4:
            raise malformed("NFLOG")
        if kind == _NFLOG_PACKET:
            return IPV4, start + 4
        start += size + -size % 4


_NFLOG_PACKET = 9


def _pktap(data: bytes, _: int) -> Content:
    """Read macOS's PKTAP, which has a link type for each packet."""
    size, _, link_type = struct.unpack_from("<III", data)
    return _inner_link("PKTAP", link_type, data, size)


def _ppi(data: bytes, _: int) -> Content:
    """Read per-packet information, likewise."""
    size, link_type = struct.unpack_from("<HI", data, 2)
    return _inner_link("PPI", link_type, data, size)


def _inner_link(name: str, link_type: int, data: bytes, start: int) -> Content:
    layer = _LAYERS.get(link_type)
    if layer is None:
        raise NotDissected(DropReason.LINK_TYPE, f"{name}: {link_name(link_type)}")
    if layer.read in (_pktap, _ppi):
        raise malformed(name)
    return layer.read(data, start)


_raw = _ip_after(0)

_LAYERS: dict[int, Layer] = {
    0: Layer("NULL", _ip_after(4)),
    1: Layer("Ethernet", ethernet),
    9: Layer("PPP", _serial_ppp),
    12: Layer("RAW", _raw),
    14: Layer("RAW", _raw),
    50: Layer("PPP_SERIAL", _serial_ppp),
    51: Layer("PPP_ETHER", pppoe),
    100: Layer("ATM_RFC1483", llc),
    LINK_RAW: Layer("RAW", _raw),
    104: Layer("C_HDLC", _cisco_hdlc),
    108: Layer("LOOP", _ip_after(4)),
    109: Layer("ENC", _ip_after(12)),
    113: Layer("LINUX_SLL", _cooked),
    117: Layer("PFLOG", _pflog),
    138: Layer("APPLE_IP_OVER_IEEE1394", lambda data, start: typed(data, start + 16, start + 18)),
    192: Layer("PPI", _ppi),
    204: Layer("PPP_WITH_DIR", _directed_ppp),
    219: Layer("MPLS", mpls),
    226: Layer("IPNET", _ip_after(24)),
    228: Layer("IPV4", _raw),
    229: Layer("IPV6", _raw),
    239: Layer("NFLOG", _nflog),
    242: Layer("IPOIB", lambda data, start: typed(data, start + 40, start + 44)),
    258: Layer("PKTAP", _pktap),
    276: Layer("LINUX_SLL2", _cooked2),
}
SUPPORTED = frozenset(_LAYERS)
"""The link types that are supported."""

# Unsupported link types that people come across.
_NAMES = {
    105: "IEEE802_11",
    119: "PRISM_HEADER",
    127: "IEEE802_11_RADIOTAP",
    187: "BLUETOOTH_HCI_H4",
    189: "USB_LINUX",
    195: "IEEE802_15_4",
    220: "USB_LINUX_MMAPPED",
    227: "CAN_SOCKETCAN",
    247: "INFINIBAND",
    249: "USBPCAP",
    252: "WIRESHARK_UPPER_PDU",
    253: "NETLINK",
    271: "VSOCK",
}
