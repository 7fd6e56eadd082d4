"""Tests of putting IP fragments together."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.capture.ip.fragments import Fragments
from lbcproxy.capture.ip.segments import build, dissect
from lbcproxy.capture.packet import ACK, PSH, SYN, Packet, Segment
from lbcproxy.endpoint import Endpoint
from lbcproxy.wire.envelope import frame
from tests.capture.ip_packets import cut, pcap
from tests.tools import tshark

CONTENT = bytes(random.Random(1).randbytes(200))
V4 = Segment(Endpoint("10.1.2.3", 50000), Endpoint("10.9.8.7", 9246), 7, 9, PSH | ACK, CONTENT)
V6 = Segment(Endpoint("fd00::1", 50000), Endpoint("fd00::2", 9246), 7, 9, PSH | ACK, CONTENT)


def dissected(packets: list[bytes]) -> list[Segment]:
    """All segments that come out of raw IP packets."""
    fragments = Fragments()
    found = (dissect(Packet(0, 101, each, 0), fragments) for each in packets)
    return [each for each in found if each is not None]


@pytest.mark.parametrize("segment", [V4, V6], ids=["IPv4", "IPv6"])
@given(data=st.data())
def test_any_cut_order_and_repetition_gives_the_segment_once(segment: Segment, data: st.DataObject):
    """Networks shuffle and repeat fragments as they do packets."""
    pieces = cut(segment, data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=12)))
    again = data.draw(st.lists(st.sampled_from(pieces[:-1]), max_size=3)) if pieces[1:] else []
    order = data.draw(st.permutations(pieces[:-1] + again))
    place = data.draw(st.integers(0, len(order)))
    assert dissected([*order[:place], pieces[-1], *order[place:]])[:1] == [segment]


@pytest.mark.parametrize("segment", [V4, V6], ids=["IPv4", "IPv6"])
def test_a_lost_fragment_loses_the_packet_and_is_counted(segment: Segment):
    """Half a segment read as a whole one would put its end in the wrong place."""
    pieces = cut(segment, [4, 4, 4])
    for lost in range(len(pieces)):
        fragments = Fragments()
        for number, piece in enumerate(pieces):
            if number != lost:
                assert dissect(Packet(0, 101, piece, 0), fragments) is None
        assert fragments.incomplete == 1


@pytest.mark.parametrize("segment", [V4, V6], ids=["IPv4", "IPv6"])
def test_packets_of_the_same_name_are_distinguished_by_what_does_not_fit(segment: Segment):
    """IPv4 has 65,536 names; a lost fragment's packet must not poison a later one."""
    other = Segment(segment.source, segment.target, 999, 9, ACK, bytes(reversed(CONTENT)))
    assert dissected([cut(segment, [4, 4])[0], *cut(other, [4, 4])]) == [other]


def test_different_packets_do_not_mix():
    """Their fragments come interleaved."""
    other = Segment(V4.source, V4.target, 999, 9, ACK, bytes(reversed(CONTENT)))
    mixed = zip(cut(V4, [9], name=1), cut(other, [9], name=2), strict=True)
    assert dissected([piece for pair in mixed for piece in pair]) == [V4, other]


def test_what_waits_is_bounded():
    """Forged fragments must not fill the memory."""
    fragments = Fragments()
    for number in range(5_000):
        fragments.add((number.to_bytes(4),), 0, bytes(8), more=True)
    assert len(fragments._incomplete) == 256
    assert fragments.incomplete == 5_000


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"a", b"b"]),
            st.integers(0, 12).map(lambda place: place * 8),
            st.integers(0, 3),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_no_fragments_raise_or_give_what_was_not_sent(added):
    """Anybody can forge them; what comes out has the bytes of pieces at their places."""
    fragments = Fragments()
    for name, place, size, more in added:
        data = bytes([place]) * size * 8
        whole = fragments.add((name,), place, data, more=more)
        if whole is not None:
            assert len(whole) % 8 == 0
            assert whole[place : place + len(data)] == data


def test_a_message_in_fragments_is_read_and_tshark_agrees(tmp_path):
    """From the file to the entry."""
    ping = frame(networks.get("lbry-regtest").magic, "ping", bytes(8))
    ends = V4.source, V4.target
    syn, data = Segment(*ends, 6, 0, SYN, b""), Segment(*ends, 7, 9, ACK, ping)
    pieces = cut(data, [2, 2])
    assert len(pieces) == 3
    path = pcap(101, [build(syn), pieces[1], pieces[0], pieces[2]], tmp_path / "pieces.pcap")
    capture = open_capture(path)
    assert [entry.raw for entry in capture] == [ping]
    assert capture.stats.notices == []
    assert "32" in tshark("-r", str(path), "-Tfields", "-e", "tcp.len").split()
    cut_off = pcap(101, [build(syn), *pieces[:2], build(data)], tmp_path / "lost.pcap")
    capture = open_capture(cut_off)
    assert [entry.raw for entry in capture] == [ping]
    [notice] = capture.stats.notices
    assert notice == "1 IP packet is not read since some of its fragments are missing"
