"""Tests of the link types that are understood, and of what is said of the others."""

import struct

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.capture.dropped import Dropped
from lbcproxy.capture.ip.links import SUPPORTED, link_name
from lbcproxy.capture.ip.segments import build, dissect
from lbcproxy.capture.packet import ACK, PSH, SYN, Packet, Segment
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import CaptureError
from lbcproxy.wire.envelope import frame
from tests.capture.ip_packets import pcap, pcapng
from tests.tools import tshark

V4 = Segment(Endpoint("10.1.2.3", 50000), Endpoint("10.9.8.7", 9246), 7, 9, PSH | ACK, b"payload")
V6 = Segment(Endpoint("fd00::1", 50000), Endpoint("fd00::2", 9246), 7, 9, PSH | ACK, b"payload")
IP4, IP6 = 0x0800, 0x86DD
TAG = struct.pack(">HH", 5, IP4)


def sll(kind: int, tag: bytes = b"") -> bytes:
    """Linux cooked, version 1: packet type, hardware type, address, type."""
    return struct.pack(">HHH8sH", 4, 1, 6, bytes(8), kind) + tag


def sll2(kind: int, tag: bytes = b"") -> bytes:
    """Linux cooked, version 2: type, reserved, interface, hardware type, packet type, address."""
    return struct.pack(">HHIHBB8s", kind, 0, 3, 1, 4, 6, bytes(8)) + tag


def nflog(order: str, family: int, size: int) -> bytes:
    """Netfilter's log: family, version, resource, then attributes; the last is the packet."""
    header = struct.pack(">BBH", family, 0, 5)
    mark = struct.pack(order + "HH", 8, 3) + bytes(4)
    prefix = struct.pack(order + "HH", 6, 10) + b"x\0" + bytes(2)
    return header + mark + prefix + struct.pack(order + "HH", size + 4, 9)


def pktap(link_type: int) -> bytes:
    """What macOS puts before a packet of any interface, little endian."""
    return struct.pack("<III24sII", 108, 1, link_type, b"en0", 1, 2) + bytes(64)


HEADERS = [
    pytest.param(0, struct.pack("<I", 2), V4, id="NULL of a little-endian machine"),
    pytest.param(0, struct.pack(">I", 2), V4, id="NULL of a big-endian machine"),
    pytest.param(0, struct.pack("<I", 30), V6, id="NULL of macOS"),
    pytest.param(0, struct.pack("<I", 24), V6, id="NULL of NetBSD"),
    pytest.param(108, struct.pack(">I", 2), V4, id="LOOP of OpenBSD"),
    pytest.param(108, struct.pack(">I", 24), V6, id="LOOP, IPv6"),
    pytest.param(1, bytes(12) + b"\x08\x00", V4, id="Ethernet"),
    pytest.param(1, bytes(12) + b"\x86\xdd", V6, id="Ethernet, IPv6"),
    pytest.param(1, bytes(12) + b"\x81\x00" + TAG, V4, id="Ethernet, VLAN"),
    pytest.param(113, sll(IP4), V4, id="cooked"),
    pytest.param(113, sll(IP6), V6, id="cooked, IPv6"),
    pytest.param(113, sll(0x8100, TAG), V4, id="cooked, VLAN"),
    pytest.param(276, sll2(IP4), V4, id="cooked v2"),
    pytest.param(276, sll2(IP6), V6, id="cooked v2, IPv6"),
    pytest.param(276, sll2(0x8100, TAG), V4, id="cooked v2, VLAN"),
    pytest.param(12, b"", V4, id="raw 12"),
    pytest.param(14, b"", V6, id="raw 14"),
    pytest.param(101, b"", V4, id="raw"),
    pytest.param(101, b"", V6, id="raw, IPv6"),
    pytest.param(228, b"", V4, id="IPV4"),
    pytest.param(229, b"", V6, id="IPV6"),
    pytest.param(1, bytes(12) + b"\0\x37\xaa\xaa\3\0\0\0\x08\0", V4, id="Ethernet, LLC, SNAP"),
    pytest.param(1, bytes(12) + b"\x81\0\0\5\0\x4b\xaa\xaa\3\0\0\0\x86\xdd", V6, id="VLAN, SNAP"),
    pytest.param(1, bytes(12) + b"\0\x32\x06\x06\3", V4, id="Ethernet, LLC, IP"),
    pytest.param(9, b"\xff\3\0\x21", V4, id="PPP"),
    pytest.param(9, b"\0\x57", V6, id="PPP without address and control"),
    pytest.param(9, b"\xff\3\x21", V4, id="PPP, compressed protocol"),
    pytest.param(50, b"\xff\3\0\x21", V4, id="PPP, serial"),
    pytest.param(50, b"\x0f\0\x08\0", V4, id="PPP, serial, Cisco"),
    pytest.param(51, b"\x11\0\0\7\0\x31\0\x21", V4, id="PPP over Ethernet"),
    pytest.param(100, b"\xaa\xaa\3\0\0\0\x08\0", V4, id="ATM"),
    pytest.param(104, b"\x0f\0\x08\0", V4, id="C_HDLC"),
    pytest.param(104, b"\x8f\0\x86\xdd", V6, id="C_HDLC, IPv6"),
    pytest.param(109, struct.pack("<III", 2, 1, 0), V4, id="ENC of OpenBSD"),
    pytest.param(117, b"\x3d\2\0\0" + bytes(60), V4, id="PFLOG"),
    pytest.param(138, bytes(16) + b"\x08\0", V4, id="IP over IEEE 1394"),
    pytest.param(192, struct.pack("<BBHI", 0, 0, 8, 1) + bytes(12) + b"\x08\0", V4, id="PPI"),
    pytest.param(204, b"\1\xff\3\0\x21", V4, id="PPP with direction"),
    pytest.param(219, b"\0\1\1\x40", V4, id="MPLS"),
    pytest.param(226, struct.pack(">BBHIIIII", 1, 2, 4, 47, 1, 0, 0, 0), V4, id="IPNET"),
    pytest.param(226, struct.pack(">BBHIIIII", 1, 26, 4, 67, 1, 0, 0, 0), V6, id="IPNET, IPv6"),
    pytest.param(239, nflog("<", 2, 47), V4, id="NFLOG"),
    pytest.param(239, nflog(">", 10, 67), V6, id="NFLOG of a big-endian machine"),
    pytest.param(242, bytes(40) + b"\x08\0\0\0", V4, id="IPOIB"),
    pytest.param(258, pktap(1) + bytes(12) + b"\x08\0", V4, id="PKTAP"),
    pytest.param(258, pktap(12), V6, id="PKTAP, raw"),
]


def test_every_supported_link_type_is_tried():
    """The table below leaves none out."""
    assert {each.values[0] for each in HEADERS} == SUPPORTED


@pytest.mark.parametrize(("link_type", "before", "segment"), HEADERS)
def test_segment_is_found_after_the_header(link_type, before, segment):
    """What tcpdump writes on Ethernet, with `-i any`, on loopbacks of BSD and macOS, and raw."""
    assert dissect(Packet(0, link_type, before + build(segment), 0)) == segment


@pytest.mark.parametrize(("link_type", "before", "segment"), HEADERS)
def test_no_prefix_of_a_packet_raises(link_type, before, segment):
    """A capture with a short limit has such."""
    whole = before + build(segment)
    headers = len(whole) - len(segment.payload)
    for size in range(len(whole)):
        found = dissect(Packet(0, link_type, whole[:size], 0))
        assert (found is None) == (size < headers)


@pytest.mark.parametrize("link_type", sorted(SUPPORTED))
def test_packets_that_are_not_ip_are_counted(link_type):
    """ARP, IPX and the rest."""
    dropped = Dropped()
    assert dissect(Packet(0, link_type, bytes(60), 0), dropped=dropped) is None
    assert dropped.packets() == 1


@pytest.mark.parametrize("wrapper", [pktap, lambda kind: struct.pack("<BBHI", 0, 0, 0, kind)])
def test_a_link_type_that_wraps_itself_ends(wrapper):
    """It could go on for as long as the packet is."""
    dropped = Dropped()
    for inner in (258, 192, 147):
        for link_type in (258, 192):
            dissect(Packet(0, link_type, wrapper(inner) * 9, 0), dropped=dropped)
    assert dropped.packets() == 6


NOT_JUDGED = {"MPLS", "NFLOG of a big-endian machine"}
"""What tshark 4.0 does not read: that link type, and NFLOG of another byte order than its own."""


def test_tshark_reads_the_headers_in_the_same_way(tmp_path):
    """The headers of this file are made by hand: an outside judge says they are right."""
    judged = [each for each in HEADERS if each.id not in NOT_JUDGED]
    packets = [(each.values[0], each.values[1] + build(each.values[2])) for each in judged]
    path = pcapng(packets, tmp_path / "all.pcapng")
    found = tshark("-r", str(path), "-Tfields", "-e", "tcp.srcport", "-e", "tcp.len").splitlines()
    assert dict(zip([each.id for each in judged], found, strict=True)) == {
        each.id: "50000\t7" for each in judged
    }


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (189, "189 (USB_LINUX)"),
        (148, "148 (USER1)"),
        (9999, "9999"),
        (105, "105 (IEEE802_11)"),
        (1, "1 (Ethernet)"),
    ],
)
def test_names_are_those_of_tcpdump(number, name):
    """People know the names, programs the numbers."""
    assert link_name(number) == name


def test_a_file_of_another_link_type_alone_is_an_error_that_names_it(tmp_path):
    """Silence about every packet would look like an empty capture."""
    path = pcap(127, [b"radio", b"radio"], tmp_path / "radio.pcap")
    with pytest.raises(CaptureError) as caught:
        list(open_capture(path))
    assert str(caught.value).endswith(
        "2 packets have a link type that is not read: 127 (IEEE802_11_RADIOTAP) 2"
    )
    assert caught.value.offset is None


def test_packets_of_another_link_type_cost_no_others(tmp_path):
    """Wireshark writes several interfaces into one file; a USB bus may be among them."""
    magic = networks.get("lbry-regtest").magic
    ping = frame(magic, "ping", bytes(8))
    ends = V4.source, V4.target
    segments = [Segment(*ends, 6, 0, SYN, b""), Segment(*ends, 7, 9, ACK, ping)]

    path = pcapng(
        [(220, b"usb"), (101, build(segments[0])), (220, b"usb"), (101, build(segments[1]))],
        tmp_path / "both.pcapng",
    )
    capture = open_capture(path)
    assert [entry.raw for entry in capture] == [ping]
    [notice] = capture.stats.notices
    assert notice == "2 packets have a link type that is not read: 220 (USB_LINUX_MMAPPED) 2"
