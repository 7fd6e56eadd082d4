"""Numbers and names of protocols that may carry TCP, and of those that do not.

Ethertypes are from IEEE 802, IP protocol numbers from IANA. The names are Wireshark's.
"""

from __future__ import annotations

from typing import NoReturn

from lbcproxy.capture.dropped import DropReason

__all__ = [
    "ETHERNET",
    "IPV4",
    "IPV6",
    "MPLS",
    "PPP",
    "NotDissected",
    "malformed",
    "raise_for_ethertype",
    "raise_for_protocol",
    "truncated",
]

IPV4, IPV6 = 0x0800, 0x86DD
ETHERNET = 0x6558
"""Transparent Ethernet bridging: a frame inside something else."""
PPP = 0x880B
MPLS = 0x8847


class NotDissected(Exception):
    """A packet holds no TCP segment that can be read; the caller counts reason and detail."""

    def __init__(self, reason: DropReason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(reason, detail)


def truncated(name: str) -> NotDissected:
    """Return the exception for a header that the capture does not hold in full."""
    return NotDissected(DropReason.HEADER_CUT, name)


def malformed(name: str) -> NotDissected:
    """Return the exception for a header that contradicts itself."""
    return NotDissected(DropReason.HEADER_MALFORMED, name)


def raise_for_ethertype(number: int) -> NoReturn:
    """Raise NotDissected with the name of an unsupported ethertype."""
    if (name := _TUNNEL_ETHERTYPES.get(number)) is not None:
        raise NotDissected(DropReason.ENCAPSULATION, name)
    raise NotDissected(DropReason.NOT_TCP, _ETHERTYPES.get(number) or f"ethertype 0x{number:04x}")


def raise_for_protocol(number: int) -> NoReturn:
    """Raise NotDissected with the name of an unsupported IP protocol."""
    if (name := _TUNNEL_PROTOCOLS.get(number)) is not None:
        raise NotDissected(DropReason.ENCAPSULATION, name)
    raise NotDissected(DropReason.NOT_TCP, _PROTOCOLS.get(number) or f"IP protocol {number}")


_TUNNEL_ETHERTYPES = {
    0x22F3: "TRILL",
    0x4305: "B.A.T.M.A.N.",
    0x88E5: "MACsec",
    0x88E7: "802.1ah",
    0x8909: "Cisco MetaData",
    0x8926: "VN-Tag",
    0x894F: "NSH",
}
_ETHERTYPES = {
    0x0806: "ARP",
    0x0842: "Wake on LAN",
    0x2000: "CDP",
    0x6003: "DECnet",
    0x8035: "RARP",
    0x809B: "AppleTalk",
    0x80F3: "AARP",
    0x8137: "IPX",
    0x8808: "Ethernet flow control",
    0x8809: "LACP",
    0x8863: "PPPoE Discovery",
    0x887B: "HomePlug",
    0x888E: "EAPOL",
    0x8892: "PROFINET",
    0x88A2: "ATA over Ethernet",
    0x88CC: "LLDP",
    0x88E1: "HomePlug AV",
    0x88F5: "MVRP",
    0x88F6: "MMRP",
    0x88F7: "PTP",
    0x8902: "CFM",
    0x8906: "FCoE",
    0x890D: "TDLS",
    0x8915: "RoCE",
    0x893A: "IEEE 1905",
    0x9000: "Loopback",
}
_TUNNEL_PROTOCOLS = {
    50: "ESP",
    55: "Mobile IP",
    98: "ENCAP",
    108: "IPComp",
    115: "L2TPv3",
}
_PROTOCOLS = {
    0: "IPv6 hop-by-hop options",
    1: "ICMP",
    2: "IGMP",
    3: "GGP",
    8: "EGP",
    9: "IGRP",
    17: "UDP",
    27: "RDP",
    33: "DCCP",
    46: "RSVP",
    58: "ICMPv6",
    59: "IPv6 no next header",
    88: "EIGRP",
    89: "OSPF",
    103: "PIM",
    112: "VRRP",
    113: "PGM",
    124: "IS-IS over IPv4",
    132: "SCTP",
    136: "UDP-Lite",
}
