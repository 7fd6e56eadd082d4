"""Tests of the link types that are understood, and of what is said of the others."""

import struct

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.capture.packet import ACK, PSH, SYN, Packet, Segment
from lbcproxy.capture.reading.links import UNDERSTOOD, ip_start, link_name
from lbcproxy.capture.reading.tcp import build, dissect
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import CaptureError
from lbcproxy.wire.envelope import frame
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
]


def test_every_type_that_is_understood_is_tried():
    """The table below leaves none out."""
    assert {each.values[0] for each in HEADERS} == UNDERSTOOD


@pytest.mark.parametrize(("link_type", "before", "segment"), HEADERS)
def test_segment_is_found_behind_the_header(link_type, before, segment):
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


@pytest.mark.parametrize("link_type", sorted(UNDERSTOOD - {12, 14, 101, 228, 229, 0, 108}))
def test_packets_that_are_not_ip_have_no_place(link_type):
    """ARP, IPX and the rest."""
    assert ip_start(link_type, bytes(60)) is None


def pcap(link_type, packets, path):
    """Write a classic pcap, little endian, microseconds."""
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, link_type)
    for number, packet in enumerate(packets):
        data += struct.pack("<IIII", 10 + number, 0, len(packet), len(packet)) + packet
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("link_type", "before", "segment"), HEADERS)
def test_tshark_reads_the_headers_in_the_same_way(tmp_path, link_type, before, segment):
    """The headers of this file are made by hand: an outside judge says they are right."""
    path = pcap(link_type, [before + build(segment)], tmp_path / "one.pcap")
    arguments = ("-Tfields", "-e", "tcp.srcport", "-e", "tcp.len")
    assert tshark("-r", str(path), *arguments).split() == ["50000", "7"]


@pytest.mark.parametrize(
    ("number", "name"),
    [(189, "189 (USB_LINUX)"), (148, "148 (USER1)"), (9999, "9999"), (105, "105 (IEEE802_11)")],
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

    def block(kind, body):
        body += bytes(-len(body) % 4)
        size = struct.pack("<I", len(body) + 12)
        return struct.pack("<I", kind) + size + body + size

    def packet(interface, data):
        return block(6, struct.pack("<5I", interface, 0, 9, len(data), len(data)) + data)

    path = tmp_path / "both.pcapng"
    path.write_bytes(
        block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
        + block(1, struct.pack("<HHI", 220, 0, 0))
        + block(1, struct.pack("<HHI", 101, 0, 0))
        + packet(0, b"usb")
        + packet(1, build(segments[0]))
        + packet(0, b"usb")
        + packet(1, build(segments[1]))
    )
    capture = open_capture(path)
    assert [entry.raw for entry in capture] == [ping]
    [notice] = capture.met.notices
    assert notice == "2 packets have a link type that is not read: 220 (USB_LINUX_MMAPPED) 2"
