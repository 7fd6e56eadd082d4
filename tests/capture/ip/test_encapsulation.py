"""Tests of what stands between link layer and TCP: tunnels, labels, PPP; and of what is not read.

The packets are made by small functions of this file, and tshark judges them.
"""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcproxy.capture import open_capture
from lbcproxy.capture.dropped import Dropped, DropReason
from lbcproxy.capture.ip.fragments import Fragments
from lbcproxy.capture.ip.segments import build, dissect
from lbcproxy.capture.packet import ACK, PSH, Packet, Segment
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import CaptureError
from tests.capture.ip_packets import (
    authentication,
    cut,
    ethernet,
    geneve,
    gre,
    ipv4,
    ipv6,
    mpls,
    pcap,
    pcapng,
    pppoe,
    udp,
    vxlan,
)
from tests.tools import REPOSITORY, tshark

CASES = REPOSITORY / "tests" / "cases"
CONTENT = bytes(range(200))
V4 = Segment(Endpoint("10.1.2.3", 50000), Endpoint("10.9.8.7", 9246), 7, 9, PSH | ACK, CONTENT)
V6 = Segment(Endpoint("fd00::1", 50000), Endpoint("fd00::2", 9246), 7, 9, PSH | ACK, CONTENT)
INNER4, INNER6 = build(V4), build(V6)
ETHERNET, RAW = 1, 101


IP4, IP6 = 0x0800, 0x86DD
FRAME4, FRAME6 = ethernet(IP4, INNER4), ethernet(IP6, INNER6)
PPP4, PPP6 = b"\0\x21", b"\0\x57"
PPTP = struct.pack(">HHHHI", 0x3001, 0x880B, 4 + len(INNER4), 5, 1)
ERSPAN = struct.pack(">II", 0x10000001, 0)
ERSPAN3 = struct.pack(">III", 0x20000001, 0, 0)

ENCAPSULATED: dict[str, tuple[int, bytes, Segment]] = {
    "PPPoE": (ETHERNET, ethernet(0x8864, pppoe(PPP4, INNER4)), V4),
    "PPPoE, IPv6": (ETHERNET, ethernet(0x8864, pppoe(PPP6, INNER6)), V6),
    "PPPoE, VLAN": (ETHERNET, ethernet(0x8100, b"\0\5\x88\x64" + pppoe(PPP4, INNER4)), V4),
    "two VLANs": (ETHERNET, ethernet(0x88A8, b"\0\5\x81\0\0\6\x08\0" + INNER4), V4),
    "MPLS": (ETHERNET, ethernet(0x8847, mpls(INNER4, 16)), V4),
    "MPLS, three labels": (ETHERNET, ethernet(0x8847, mpls(INNER6, 16, 17, 18)), V6),
    "MPLS multicast": (ETHERNET, ethernet(0x8848, mpls(INNER4, 16)), V4),
    "MPLS, explicit null": (ETHERNET, ethernet(0x8847, mpls(INNER4, 0)), V4),
    "MPLS pseudowire": (ETHERNET, ethernet(0x8847, mpls(bytes(4) + FRAME4, 16)), V4),
    "MPLS pseudowire, no control word": (ETHERNET, ethernet(0x8847, mpls(FRAME6, 16)), V6),
    "MPLS in PPP": (9, b"\xff\3\2\x81" + mpls(INNER4, 16), V4),
    "GRE": (RAW, ipv4(47, gre(IP4, INNER4)), V4),
    "GRE, IPv6 in IPv4": (RAW, ipv4(47, gre(IP6, INNER6)), V6),
    "GRE, IPv4 in IPv6": (RAW, ipv6(47, gre(IP4, INNER4)), V4),
    "GRE, checksum": (RAW, ipv4(47, gre(IP4, INNER4, 0x8000)), V4),
    "GRE, key": (RAW, ipv4(47, gre(IP4, INNER4, 0x2000)), V4),
    "GRE, sequence": (RAW, ipv4(47, gre(IP4, INNER4, 0x1000)), V4),
    "GRE, all three": (RAW, ipv4(47, gre(IP4, INNER4, 0xB000)), V4),
    "GRE, Ethernet": (RAW, ipv4(47, gre(0x6558, FRAME4)), V4),
    "GRE, Ethernet, key": (RAW, ipv4(47, gre(0x6558, FRAME6, 0x2000)), V6),
    "GRE, MPLS": (RAW, ipv4(47, gre(0x8847, mpls(INNER4, 16))), V4),
    "PPTP": (RAW, ipv4(47, PPTP + PPP4 + INNER4), V4),
    "ERSPAN I": (RAW, ipv4(47, gre(0x88BE, FRAME4)), V4),
    "ERSPAN II": (RAW, ipv4(47, gre(0x88BE, ERSPAN + FRAME4, 0x1000)), V4),
    "ERSPAN III": (RAW, ipv4(47, gre(0x22EB, ERSPAN3 + FRAME4, 0x1000)), V4),
    "IP in IP": (RAW, ipv4(4, INNER4), V4),
    "6in4": (RAW, ipv4(41, INNER6), V6),
    "4in6": (RAW, ipv6(4, INNER4), V4),
    "6in6": (RAW, ipv6(41, INNER6), V6),
    "AH": (RAW, ipv4(51, authentication(6, INNER4[20:])), V4),
    "AH, IPv6": (RAW, ipv6(51, authentication(6, INNER6[40:])), V6),
    "AH, tunnel": (RAW, ipv4(51, authentication(4, INNER4)), V4),
    "AH after other headers": (
        RAW,
        ipv6(60, b"\x33\0" + bytes(6) + authentication(41, INNER6)),
        V6,
    ),
    "EtherIP": (RAW, ipv4(97, b"\x30\0" + FRAME4), V4),
    "MPLS in IP": (RAW, ipv4(137, mpls(INNER4, 16)), V4),
    "VXLAN": (RAW, ipv4(17, udp(4789, vxlan(FRAME4))), V4),
    "VXLAN in IPv6": (RAW, ipv6(17, udp(4789, vxlan(FRAME6))), V6),
    "GENEVE": (RAW, ipv4(17, udp(6081, geneve(0x6558, FRAME4, bytes(8)))), V4),
    "GENEVE, IP": (RAW, ipv4(17, udp(6081, geneve(IP4, INNER4))), V4),
    "five deep": (
        ETHERNET,
        ethernet(
            0x8847, mpls(ipv4(47, gre(0x6558, ethernet(0x8864, pppoe(PPP6, ipv6(4, INNER4))))), 9)
        ),
        V4,
    ),
}
"""What is read: a link type, a packet, and the segment in it."""

# The addresses of an AH packet in transport mode are those of the outer header.
OUTER = {
    "AH": (Endpoint("192.0.2.1", 50000), Endpoint("192.0.2.2", 9246)),
    "AH, IPv6": (Endpoint("2001:db8::1", 50000), Endpoint("2001:db8::2", 9246)),
}


def expected(name: str) -> Segment:
    """What is to be found."""
    segment = ENCAPSULATED[name][2]
    source, target = OUTER.get(name, (segment.source, segment.target))
    return Segment(source, target, segment.sequence, segment.acknowledgment, segment.flags, CONTENT)


@pytest.mark.parametrize("name", ENCAPSULATED)
def test_the_segment_inside_is_found(name: str):
    """Whoever captures at a router, a hypervisor or an uplink has such."""
    link_type, data, _ = ENCAPSULATED[name]
    dropped = Dropped()
    assert dissect(Packet(0, link_type, data, 0), dropped=dropped) == expected(name)
    assert not dropped


@pytest.mark.slow
def test_tshark_finds_the_same(tmp_path):
    """The packets of this file are made by hand: an outside judge says they are right."""
    path = pcapng([each[:2] for each in ENCAPSULATED.values()], tmp_path / "all.pcapng")
    fields = [field for name in ("ip.src", "ipv6.src", "tcp.len") for field in ("-e", name)]
    lines = tshark("-r", str(path), "-Tfields", "-Eoccurrence=l", *fields).splitlines()
    for name, line in zip(ENCAPSULATED, lines, strict=True):
        *sources, length = line.split("\t")
        assert (name, length) == (name, "200")
        assert expected(name).source.host in sources, name
    found = tshark("-r", str(path), "-q", "-z", "conv,tcp")
    assert f"{V4.source} " in found
    assert f"{V6.source.host}:50000" in found


@pytest.mark.parametrize("name", ENCAPSULATED)
def test_every_prefix_is_read_or_counted(name: str):
    """A capture with a short limit has such: nothing raises, and nothing is lost in silence."""
    link_type, data, _ = ENCAPSULATED[name]
    for size in range(len(data)):
        dropped = Dropped()
        found = dissect(Packet(0, link_type, data[:size], 0), dropped=dropped)
        if found is None:
            assert dropped.packets() == 1
        else:
            assert not dropped
            assert CONTENT.startswith(found.payload)


@given(st.sampled_from(sorted(ENCAPSULATED)), st.data())
def test_no_damage_raises(name: str, data: st.DataObject):
    """Nearly right packets reach deeper than random bytes do."""
    link_type, packet, _ = ENCAPSULATED[name]
    changed = bytearray(packet[: data.draw(st.integers(0, len(packet)))])
    headers = len(packet) - len(CONTENT)
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, headers), st.integers(0, 255)), max_size=8)
    ):
        changed[place : place + 1] = bytes([value]) if place < len(changed) else b""
    dropped, fragments = Dropped(), Fragments()
    found = dissect(Packet(0, link_type, bytes(changed), 0), fragments, dropped)
    assert (found is not None) + dropped.packets() + fragments.incomplete == 1


@given(st.binary(max_size=80), st.integers(0, 280))
def test_no_bytes_raise_on_any_link_type(data: bytes, link_type: int):
    """One odd packet must not end the reading of a capture."""
    dropped, fragments = Dropped(), Fragments()
    found = dissect(Packet(0, link_type, data, 0), fragments, dropped)
    assert (found is not None) + dropped.packets() + fragments.incomplete == 1


TUNNELS: dict[str, Callable[[bytes], bytes]] = {
    "IP in IP": lambda inner: ipv4(4, inner),
    "GRE": lambda inner: ipv4(47, gre(IP4, inner, 0x2000)),
    "4in6": lambda inner: ipv6(4, inner),
    "VXLAN": lambda inner: ipv4(17, udp(4789, vxlan(ethernet(IP4, inner)))),
    "AH": lambda inner: ipv6(51, authentication(4, inner)),
}


def found_in(packets: list[bytes]) -> list[Segment]:
    """All segments in raw IP packets; whatever holds none must be waiting for another."""
    fragments, dropped = Fragments(), Dropped()
    found = [dissect(Packet(0, RAW, each, 0), fragments, dropped) for each in packets]
    assert not dropped
    assert fragments.incomplete == 0
    return [each for each in found if each is not None]


def fragmented(packet: bytes, size: int) -> list[bytes]:
    """Cut any IP packet into fragments of so many times 8 bytes."""
    six = packet[0] >> 4 == 6
    head, content = (packet[:40], packet[40:]) if six else (packet[:20], packet[20:])
    pieces = []
    for place in range(0, len(content), size * 8):
        piece = content[place : place + size * 8]
        more = place + len(piece) < len(content)
        if six:
            extension = struct.pack(">BBHI", head[6], 0, place | more, 5)
            length = struct.pack(">HB", 8 + len(piece), 44)
            pieces.append(head[:4] + length + head[7:] + extension + piece)
        else:
            field = place // 8 | (0x2000 if more else 0)
            pieces.append(
                head[:2] + struct.pack(">HHH", 20 + len(piece), 5, field) + head[8:] + piece
            )
    return pieces


@pytest.mark.parametrize("name", TUNNELS)
def test_fragments_inside_a_tunnel_are_put_together(name: str):
    """A host behind a tunnel fragments before the tunnel's end sees the packet."""
    pieces = cut(V4, [4, 4])
    assert len(pieces) == 3
    assert found_in([TUNNELS[name](piece) for piece in pieces]) == [V4]


@pytest.mark.parametrize("name", TUNNELS)
def test_fragments_of_a_tunnel_are_put_together(name: str):
    """A tunnel makes packets longer than the network takes, so its own packets are cut."""
    pieces = fragmented(TUNNELS[name](INNER4), 8)
    assert len(pieces) > 3
    assert found_in(pieces) == [V4]


@pytest.mark.parametrize("name", TUNNELS)
def test_fragments_inside_and_around_at_once(name: str):
    """Both happen where tunnels run through tunnels."""
    packets = [each for piece in cut(V4, [9]) for each in fragmented(TUNNELS[name](piece), 5)]
    assert found_in(packets) == [V4]


@pytest.mark.slow
def test_tshark_puts_together_the_same_fragments(tmp_path):
    """The conversations in tunnels' fragments, by an outside judge."""
    packets = []
    for port, wrap in enumerate(TUNNELS.values(), 50_001):
        segment = Segment(Endpoint("10.1.2.3", port), V4.target, 7, 9, PSH | ACK, CONTENT)
        around, inside = fragmented(wrap(build(segment)), 8), cut(segment, [4, 4])
        packets += [around, [wrap(piece) for piece in inside]]
    for number, pieces in enumerate(packets):
        path = pcap(RAW, pieces, tmp_path / f"{number}.pcap")
        [found] = found_in(pieces)
        assert f"10.1.2.3:{found.source.port} " in tshark("-r", str(path), "-q", "-z", "conv,tcp")
        assert "200" in tshark("-r", str(path), "-Tfields", "-e", "tcp.len").split()


def test_fragments_that_were_captured_twice_are_not_missing():
    """Captures of all interfaces have every packet twice."""
    pieces = [piece for piece in cut(V4, [4, 4]) for _ in range(2)]
    assert found_in(pieces) == [V4]
    assert found_in(cut(V4, [4, 4]) * 2) == [V4]


def test_depth_is_bounded():
    """A packet of 64 KiB can hold 3,000 IP headers."""
    data = INNER4
    for _ in range(16):
        data = ipv4(4, data)
    assert dissect(Packet(0, RAW, data, 0)) == V4
    dropped = Dropped()
    for _ in range(3_000):
        data = ipv4(4, data[:65_000])
        assert dissect(Packet(0, RAW, data, 0), dropped=dropped) is None
    assert dropped.packets(DropReason.ENCAPSULATION) == 3_000


UNREAD: dict[str, tuple[int, bytes, DropReason]] = {
    "ARP": (ETHERNET, ethernet(0x0806, bytes(28)), DropReason.NOT_TCP),
    "LLDP": (ETHERNET, ethernet(0x88CC, bytes(28)), DropReason.NOT_TCP),
    "STP": (ETHERNET, ethernet(38, b"\x42\x42\3" + bytes(35)), DropReason.NOT_TCP),
    "CDP": (ETHERNET, ethernet(38, b"\xaa\xaa\3\0\0\x0c\x20\0"), DropReason.NOT_TCP),
    "ethertype 0x1234": (ETHERNET, ethernet(0x1234, bytes(28)), DropReason.NOT_TCP),
    "UDP": (RAW, ipv4(17, udp(53, bytes(28))), DropReason.NOT_TCP),
    "ICMP": (RAW, ipv4(1, bytes(28)), DropReason.NOT_TCP),
    "ICMPv6": (RAW, ipv6(58, bytes(28)), DropReason.NOT_TCP),
    "SCTP": (RAW, ipv4(47, gre(IP4, ipv4(132, bytes(28)))), DropReason.NOT_TCP),
    "IP protocol 253": (RAW, ipv4(253, bytes(28)), DropReason.NOT_TCP),
    "PPPoE Discovery": (ETHERNET, ethernet(0x8863, pppoe(b"", b"", 9)), DropReason.NOT_TCP),
    "PPP control": (ETHERNET, ethernet(0x8864, pppoe(b"\xc0\x21", bytes(9))), DropReason.NOT_TCP),
    "PPP multilink": (9, b"\xff\3\0\x3d" + bytes(9), DropReason.ENCAPSULATION),
    "ESP": (RAW, ipv4(50, bytes(60)), DropReason.ENCAPSULATION),
    "L2TPv3": (RAW, ipv6(115, bytes(60)), DropReason.ENCAPSULATION),
    "MACsec": (ETHERNET, ethernet(0x88E5, bytes(28)), DropReason.ENCAPSULATION),
    "WireGuard": (RAW, ipv4(17, udp(51820, bytes(28))), DropReason.ENCAPSULATION),
    "GRE 0x883e": (RAW, ipv4(47, gre(0x883E, bytes(28))), DropReason.ENCAPSULATION),
}


@pytest.mark.parametrize("name", UNREAD)
def test_what_is_not_read_is_counted_by_name(name: str):
    """It says where to look for what is missed."""
    link_type, data, reason = UNREAD[name]
    dropped = Dropped()
    assert dissect(Packet(0, link_type, data, 0), dropped=dropped) is None
    assert dropped.to_list() == [
        {"reason": reason.value, "detail": name, "packets": 1, "bytes": 0},
    ]


def test_fragments_of_what_is_not_read_are_counted_and_not_kept():
    """DNS and video come in fragments too; nobody needs to hear that some are missing."""
    dropped, fragments = Dropped(), Fragments()
    pieces = fragmented(ipv4(17, udp(53, bytes(300))), 8) + fragmented(ipv4(50, bytes(300)), 8)
    for piece in pieces:
        assert dissect(Packet(0, RAW, piece, 0), fragments, dropped) is None
    assert fragments.incomplete == 0
    assert dropped.sentences() == ["10 packets hold no TCP that is read: ESP 5, UDP 5"]


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (32, 0x40, "1 packet is not read since a header is malformed: TCP 1"),
        (32, 0xF0, "1 packet is not read since a header is malformed: TCP 1"),
        (0, 0x44, "1 packet is not read since a header is malformed: IPv4 1"),
        (0, 0x95, "1 packet is not read since a header is malformed: IP 1"),
        (3, 30, "1 packet is not read since a header is malformed: TCP 1"),
    ],
)
def test_a_malformed_header_is_counted(place: int, value: int, sentence: str):
    """Its bytes would otherwise be missing, and nobody would know why."""
    data = bytearray(build(Segment(V4.source, V4.target, 7, 9, ACK, b"short")))
    data[2:4] = len(data).to_bytes(2)
    data[place] = value
    dropped = Dropped()
    assert dissect(Packet(0, RAW, bytes(data), 0), dropped=dropped) is None
    assert dropped.sentences() == [sentence]


def test_a_cut_header_is_counted():
    dropped = Dropped()
    for size in (10, 30, 39):
        dissect(Packet(0, RAW, INNER4[:size], 0), dropped=dropped)
    assert dropped.sentences() == ["3 packets are not read since a header is cut: TCP 2, IPv4 1"]


def test_a_cut_fragment_is_counted():
    """Fragments that a capture has cut cannot be put together."""
    dropped, fragments = Dropped(), Fragments()
    for piece in cut(V4, [8, 8]):
        dissect(Packet(0, RAW, piece[:-1], 0), fragments, dropped)
    assert dropped.sentences() == ["3 IP fragments are not read since they are cut or malformed"]


@pytest.mark.parametrize("name", ["gre", "pppoe"])
def test_cases_are_read(name: str):
    """The captures of the report: a session of 15 messages in each."""
    capture = open_capture(CASES / f"{name}.pcap")
    assert len(list(capture)) == 15
    assert capture.sessions == 1
    assert capture.stats.all_notices == []
    found = tshark("-r", str(capture.path), "-q", "-z", "conv,tcp")
    assert found.count("<->") == 1


def test_a_file_of_a_tunnel_that_is_not_read_is_an_error_that_names_it(tmp_path):
    """Silence would look like an empty capture."""
    path = pcap(RAW, [ipv4(50, bytes(60))] * 3 + [ipv4(17, udp(53, b""))], tmp_path / "esp.pcap")
    with pytest.raises(CaptureError, match="4 packets hold no TCP that is read: ESP 3, UDP 1"):
        list(open_capture(path))


def test_other_protocols_are_no_error(tmp_path):
    """There is simply no TCP in the file; it is said."""
    path = pcap(RAW, [ipv4(17, udp(53, b""))] * 3, tmp_path / "dns.pcap")
    capture = open_capture(path)
    assert list(capture) == []
    assert capture.stats.notices == ["3 packets hold no TCP that is read: UDP 3"]
