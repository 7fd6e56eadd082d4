"""Link types: what stands before the IP packet in the packets of a capture.

The numbers are those of pcap files and pcapng interfaces (tcpdump.org/linktypes.html). Ethernet,
Linux's two cooked forms, loopback of the BSDs and of macOS, and raw IP are understood. To add one
is to add a line to `_STARTS`.
"""

from collections.abc import Callable

__all__ = ["LINK_RAW", "UNDERSTOOD", "ip_start", "link_name"]

LINK_RAW = 101

_IP = frozenset({0x0800, 0x86DD})
_TAGS = frozenset({0x8100, 0x88A8, 0x9100})


def ip_start(link_type: int, data: bytes) -> int | None:
    """Where the IP packet begins in the bytes of a packet; None if there is none."""
    start = _STARTS.get(link_type)
    return None if start is None else start(data)


def link_name(link_type: int) -> str:
    """Name a link type for people: its number, and what tcpdump calls it where that is known."""
    name = "USER" + str(link_type - 147) if 147 <= link_type <= 162 else _NAMES.get(link_type)
    return str(link_type) if name is None else f"{link_type} ({name})"


def _behind_tags(data: bytes, kind: int, start: int) -> int | None:
    """Pass over VLAN tags: `kind` is the place of the type, `start` of what it is the type of."""
    found = int.from_bytes(data[kind : kind + 2])
    while found in _TAGS:
        found = int.from_bytes(data[start + 2 : start + 4])
        start += 4
    return start if found in _IP else None


def _ethernet(data: bytes) -> int | None:
    return _behind_tags(data, 12, 14)


def _raw(_data: bytes) -> int | None:
    return 0


def _loopback(_data: bytes) -> int | None:
    """Pass over the address family: its number is another on each system, the IP version is not."""
    return 4


def _cooked(data: bytes) -> int | None:
    """Pass over what `tcpdump -i any` wrote in former days."""
    return _behind_tags(data, 14, 16)


def _cooked2(data: bytes) -> int | None:
    """Pass over what it writes now."""
    return _behind_tags(data, 0, 20)


_STARTS: dict[int, Callable[[bytes], int | None]] = {
    0: _loopback,
    1: _ethernet,
    12: _raw,
    14: _raw,
    LINK_RAW: _raw,
    108: _loopback,
    113: _cooked,
    228: _raw,
    229: _raw,
    276: _cooked2,
}
UNDERSTOOD = frozenset(_STARTS)
"""The link types that are read."""

# Of those that are not understood, what people meet.
_NAMES = {
    9: "PPP",
    50: "PPP_SERIAL",
    51: "PPP_ETHER",
    104: "C_HDLC",
    105: "IEEE802_11",
    117: "PFLOG",
    119: "PRISM_HEADER",
    127: "IEEE802_11_RADIOTAP",
    187: "BLUETOOTH_HCI_H4",
    189: "USB_LINUX",
    192: "PPI",
    195: "IEEE802_15_4",
    220: "USB_LINUX_MMAPPED",
    226: "IPNET",
    227: "CAN_SOCKETCAN",
    239: "NFLOG",
    242: "IPOIB",
    247: "INFINIBAND",
    249: "USBPCAP",
    252: "WIRESHARK_UPPER_PDU",
    253: "NETLINK",
    258: "PKTAP",
    271: "VSOCK",
}
