"""Tests of building and dissecting IP and TCP."""

import struct

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lbcproxy.capture.ip.segments import MAX_PAYLOAD, build, dissect
from lbcproxy.capture.packet import ACK, FIN, PSH, SYN, Packet, Segment
from lbcproxy.endpoint import Endpoint

RAW, ETHERNET = 101, 1
V4 = Segment(Endpoint("10.0.0.1", 4000), Endpoint("10.0.0.2", 9246), 7, 9, PSH | ACK, b"hello")
V6 = Segment(Endpoint("2001:db8::1", 4000), Endpoint("::1", 9246), 7, 9, PSH | ACK, b"hello")


def packet(data: bytes, link_type: int = RAW) -> Packet:
    """A packet as a file might hold it."""
    return Packet(1, link_type, data, 24)


def ipv6(extensions: bytes, first: int, segment: Segment = V6) -> bytes:
    """An IPv6 packet with extension headers before its TCP header."""
    data = build(segment)
    length = len(data) - 40 + len(extensions)
    return data[:4] + struct.pack(">HB", length, first) + data[7:40] + extensions + data[40:]


# A mapped address is read back as the IPv4 address that it stands for.
unmapped = st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None)
hosts = st.one_of(st.ip_addresses(v=4).map(str), unmapped.map(str))
endpoints = st.builds(Endpoint, hosts, st.integers(0, 0xFFFF))
segments = st.builds(
    Segment,
    endpoints,
    endpoints,
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.just(ACK) | st.just(ACK | FIN) | st.just(ACK | SYN),
    st.binary(max_size=100),
)


@pytest.mark.parametrize("link_type", [12, 14, 101, 228])
def test_built_ipv4_is_dissected_to_the_same_segment(link_type: int):
    """What the writer makes is what the reader finds, whatever number raw IP goes by."""
    assert dissect(packet(build(V4), link_type)) == V4


@pytest.mark.parametrize("link_type", [101, 229])
def test_built_ipv6_is_dissected_to_the_same_segment(link_type: int):
    """Nodes have IPv6 addresses as well."""
    assert dissect(packet(build(V6), link_type)) == V6


@given(segments)
def test_any_segment_comes_back(segment: Segment):
    """Nothing of a segment is lost, whatever its addresses and numbers; a SYN is given a scale."""
    found = dissect(packet(build(segment)))
    assert found is not None
    assert found.window_scale == (14 if segment.flags & SYN else None)
    assert msgspec.structs.replace(found, window_scale=None) == segment


def test_ipv4_header_checksum_is_right():
    """Tools drop IPv4 packets with wrong header checksums: with it the sum is all ones."""
    for size in (0, 1, 1000, MAX_PAYLOAD):
        data = build(Segment(V4.source, V4.target, 0, 0, ACK, bytes(size)))
        total = sum(struct.unpack(">10H", data[:20]))
        assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
        assert struct.unpack_from(">H", data, 2)[0] == len(data)


def test_largest_payload_fits_and_one_more_does_not():
    """The length of an IPv4 packet has 16 bits."""
    whole = Segment(V4.source, V4.target, 1, 1, ACK, bytes(MAX_PAYLOAD))
    assert len(build(whole)) == 65_535
    assert dissect(packet(build(whole))) == whole
    with pytest.raises(ValueError, match="do not fit"):
        build(Segment(V4.source, V4.target, 1, 1, ACK, bytes(MAX_PAYLOAD + 1)))


def test_ipv4_is_mapped_where_the_other_end_is_ipv6():
    """One packet has one version of IP; the address that is read back is the one that was."""
    mixed = Segment(Endpoint("10.0.0.1", 1), Endpoint("2001:db8::1", 2), 0, 0, ACK, b"")
    assert build(mixed)[0] >> 4 == 6
    assert dissect(packet(build(mixed))) == mixed


@pytest.mark.parametrize(
    ("host", "address"),
    [
        # What OnionCat and Bitcoin Core made of Tor's old names.
        ("expyuzz4wqqyqhjn.onion", "fd87:d87e:eb43:25df:8a67:3cb4:2188:1d2d"),
        # sha256 of the name, after the prefix.
        ("node.example", "fd6c:6263:7078:4ab1:92cb:f221:1e1:77de"),
    ],
)
def test_a_host_without_address_has_one_of_its_own(host: str, address: str):
    """Onion services and the like have names that IP cannot carry."""
    back = dissect(packet(build(Segment(Endpoint(host, 5), V4.target, 0, 0, ACK, b"x"))))
    assert back is not None
    assert back.source == Endpoint(address, 5)
    assert back.target == V4.target


def test_hosts_without_address_are_distinguished():
    """Two of them were one address, and the two ends of a connection were the same."""
    names = ["a" * 56 + ".onion", "b" * 56 + ".onion", "x.b32.i2p", "", "/run/node.sock", "x y"]
    found = set()
    for name in names:
        back = dissect(packet(build(Segment(Endpoint(name, 5), V4.target, 0, 0, ACK, b"x"))))
        assert back is not None
        found.add(back.source.host)
    assert len(found) == len(names)


@pytest.mark.parametrize(
    "tags", [b"", b"\x81\x00\x00\x05", b"\x88\xa8\x00\x01\x81\x00\x00\x02"], ids=["0", "1", "2"]
)
@pytest.mark.parametrize(("segment", "kind"), [(V4, b"\x08\x00"), (V6, b"\x86\xdd")])
def test_ethernet_is_stripped(tags: bytes, segment: Segment, kind: bytes):
    """Captures of tcpdump have Ethernet frames, in offices and clouds with VLAN tags."""
    assert dissect(packet(bytes(12) + tags + kind + build(segment), ETHERNET)) == segment


def test_ethernet_padding_is_not_data():
    """Short frames are padded to 60 bytes; taken for data that would corrupt the stream."""
    short = Segment(V4.source, V4.target, 1, 1, ACK, b"")
    frame = bytes(12) + b"\x08\x00" + build(short) + bytes(6)
    assert dissect(packet(frame, ETHERNET)) == short


def test_other_ethernet_frames_are_none():
    """Captures hold ARP and more."""
    assert dissect(packet(bytes(12) + b"\x08\x06" + build(V4), ETHERNET)) is None


def test_total_length_zero_means_the_rest():
    """Network cards that cut segments themselves leave 0 in captures of what was sent."""
    data = bytearray(build(V4))
    data[2:4] = bytes(2)
    assert dissect(packet(bytes(data))) == V4


def test_ipv4_options_are_skipped():
    """The header's length is a field, not 20."""
    data = bytearray(build(V4))
    data[0] = 0x46
    data[2:4] = struct.pack(">H", len(data) + 4)
    data[20:20] = b"\x01\x01\x01\x00"
    assert dissect(packet(bytes(data))) == V4


@pytest.mark.parametrize("field", [0x0001, 0x2000, 0x1FFF])
def test_ipv4_fragments_are_none(field: int):
    """Half a segment read as a whole one would put its end in the wrong place."""
    data = bytearray(build(V4))
    data[6:8] = struct.pack(">H", field)
    assert dissect(packet(bytes(data))) is None


def test_ipv6_extension_headers_are_skipped():
    """Hop-by-hop, routing, destination and an atomic fragment may stand before TCP."""
    chain = (
        bytes([43, 0, *bytes(6)])
        + bytes([60, 1, *bytes(14)])
        + bytes([44, 0, *bytes(6)])
        + bytes([6, 0, *bytes(6)])
    )
    assert dissect(packet(ipv6(chain, 0))) == V6


@pytest.mark.parametrize("field", [b"\x00\x08", b"\x00\x01"], ids=["later", "first of more"])
def test_ipv6_fragments_are_none(field: bytes):
    """As with IPv4."""
    assert dissect(packet(ipv6(b"\x06\x00" + field + bytes(4), 44))) is None


def test_what_is_not_tcp_is_none():
    """Captures of everything hold DNS as well."""
    data = bytearray(build(V4))
    data[9] = 17
    assert dissect(packet(bytes(data))) is None
    assert dissect(packet(ipv6(b"", 17))) is None


@pytest.mark.parametrize("segment", [V4, V6])
def test_a_cut_packet_gives_what_there_is_of_its_payload(segment: Segment):
    """A capture with a short limit holds beginnings of packets; messages in them are whole."""
    data = build(segment)
    headers = len(data) - len(segment.payload)
    for end in range(len(data)):
        for cut in (packet(data[:end]), packet(bytes(12) + b"\x08\x00" + data[:end], ETHERNET)):
            found = dissect(cut)
            if end < headers:
                assert found is None
            else:
                assert found is not None
                assert found.payload == segment.payload[: end - headers]
                assert found.sequence == segment.sequence


def test_the_end_after_cut_bytes_is_none():
    """The stream does not end where the capture of its last packet does."""
    last = Segment(V4.source, V4.target, 7, 9, FIN | ACK, b"last words")
    found = dissect(packet(build(last)[:-3]))
    assert found is not None
    assert (found.flags, found.payload) == (ACK, b"last wo")


@given(st.binary(max_size=120), st.sampled_from([0, 1, 12, 14, 101, 108, 113, 228, 229, 276]))
@example(b"\x45" + bytes(19), 101)
@example(bytes(12) + b"\x81\x00", 1)
def test_no_bytes_raise(data: bytes, link_type: int):
    """A capture is from anywhere, and one odd packet must not end its reading."""
    dissect(packet(data, link_type))


@given(st.sampled_from([V4, V6]), st.lists(st.tuples(st.integers(0, 70), st.integers(0, 255))))
def test_no_damage_raises(segment: Segment, changes: list[tuple[int, int]]):
    """Nearly right packets reach deeper than random bytes do."""
    data = bytearray(build(segment))
    for place, value in changes:
        data[place % len(data)] = value
    dissect(packet(bytes(data)))


def test_endpoints_are_written_as_people_do():
    """The text stands in captures and on screens."""
    assert str(Endpoint("1.2.3.4", 5)) == "1.2.3.4:5"
    assert str(Endpoint("::1", 5)) == "[::1]:5"
