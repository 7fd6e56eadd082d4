"""Synthetic TCP connections: sequence numbers, acknowledgments, and packets as blocks."""

import io

import pytest

from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.ip.segments import dissect
from lbcproxy.capture.packet import ACK, FIN, PSH, SYN, Leg, Packet
from lbcproxy.capture.writing import flows
from lbcproxy.capture.writing.capture_writer import CaptureWriter
from lbcproxy.capture.writing.chunks import Chunk
from lbcproxy.capture.writing.flows import LAST_NS, Flow, PacketBlocks
from lbcproxy.capture.writing.notes import PacketNote
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Direction

UP, DOWN = Direction
CLIENT, PROXY = Endpoint("10.0.0.1", 40_000), Endpoint("10.0.0.2", 9246)
NOW = 1_700_000_000_123_456_789


def head():
    """Return the start of a file, with the interfaces of both legs."""
    parts = []
    CaptureWriter(parts.append, network="lbry-regtest", legs="both", metadata={})
    return b"".join(parts)


def packets_of(blocks):
    """Return the packets and their segments."""
    items = pcapng.read(io.BytesIO(head() + b"".join(blocks.parts)))
    packets = [each for each in items if isinstance(each, Packet)]
    return [(each, dissect(each)) for each in packets]


@pytest.mark.parametrize(
    ("time_ns", "sequence"),
    [(0, 0), (3_999, 0), (4_000, 1), (4_000 * ((1 << 32) - 1), (1 << 32) - 1), (4_000 << 32, 0)],
)
def test_sequence_numbers_begin_with_the_clock(time_ns, sequence):
    """In steps of 4 microseconds; a later connection on the same ports has others."""
    flow = Flow(Leg.CLIENT, CLIENT, PROXY, time_ns)
    assert [half.sequence for half in flow.halves.values()] == [sequence] * 2
    assert flow.progress() == [(sequence, 0, 0, 0)] * 2


def test_a_packet_counts_what_it_holds():
    """A SYN and a FIN count as a byte, but not as one of the stream."""
    flow, blocks = Flow(Leg.CLIENT, CLIENT, PROXY, 0), PacketBlocks(NOW)
    half, other = flow.halves[UP], flow.halves[DOWN]
    blocks.packet(flow, UP, SYN)
    assert (half.sequence, half.position, half.unacked_bytes, half.unacked_packets) == (1, 0, 1, 1)
    blocks.packet(flow, DOWN, SYN | ACK)
    assert (half.unacked_bytes, half.unacked_packets, other.unacked_packets) == (0, 0, 1)
    blocks.packet(flow, UP, ACK)
    assert (half.sequence, half.unacked_packets, other.unacked_bytes) == (1, 0, 0)
    blocks.packet(flow, UP, PSH | ACK, [b"abc", b"de"])
    assert (half.sequence, half.position, half.unacked_bytes, half.unacked_packets) == (6, 5, 5, 1)
    blocks.packet(flow, UP, FIN | ACK)
    assert (half.sequence, half.position, half.unacked_bytes, half.unacked_packets) == (7, 5, 6, 2)
    found = [
        (each.source, each.sequence, each.acknowledgment, each.flags, each.payload)
        for _, each in packets_of(blocks)
    ]
    assert found == [
        (CLIENT, 0, 0, SYN, b""),
        (PROXY, 0, 1, SYN | ACK, b""),
        (CLIENT, 1, 1, ACK, b""),
        (CLIENT, 1, 1, PSH | ACK, b"abcde"),
        (CLIENT, 6, 1, FIN | ACK, b""),
    ]


@pytest.mark.parametrize("size", range(1, 6))
def test_blocks_are_padded(size):
    """Whatever the length; times and interfaces are in them."""
    for leg, interface in ((Leg.CLIENT, 0), (Leg.UPSTREAM, 1)):
        blocks = PacketBlocks(NOW)
        blocks.packet(Flow(leg, CLIENT, PROXY, 0), UP, ACK, [b"x" * size])
        [(packet, segment)] = packets_of(blocks)
        assert (packet.time_ns, packet.interface) == (NOW, interface)
        assert segment.payload == b"x" * size
        assert len(b"".join(blocks.parts)) % 4 == 0


@pytest.mark.parametrize(
    ("time_ns", "written"),
    [(-1, 0), (0, 0), (1 << 32, 1 << 32), (LAST_NS, LAST_NS), (LAST_NS + 1, LAST_NS)],
)
def test_times_that_cannot_be_written_are_the_nearest(time_ns, written):
    """Other files may claim any time."""
    assert PacketBlocks(time_ns).time_ns == written
    assert LAST_NS == (1 << 64) - 1


@pytest.mark.parametrize(("leg", "inbound"), [(Leg.CLIENT, UP), (Leg.UPSTREAM, DOWN)])
def test_a_packet_says_whether_it_came_in(leg, inbound):
    """To the proxy; Wireshark shows it."""
    for direction in Direction:
        blocks = PacketBlocks(NOW)
        blocks.packet(Flow(leg, CLIENT, PROXY, 0), direction, ACK)
        data = b"".join(blocks.parts)
        flags = (1 if direction is inbound else 2).to_bytes(4, "little")
        assert data[-16:-8] == b"\x02\0\x04\0" + flags


def test_the_receiver_acknowledges_now_and_then(monkeypatch):
    """By bytes and by packets; analysers would complain otherwise."""
    monkeypatch.setattr(flows, "MAX_UNACKNOWLEDGED_BYTES", 1_000)
    monkeypatch.setattr(flows, "_MAX_UNACKNOWLEDGED_PACKETS", 3)
    for sizes, acknowledged in (
        ([999], False),
        ([1_000], True),
        ([500, 500], True),
        ([1, 1], False),
        ([1, 1, 1], True),
        ([0, 0, 0, 0], False),
    ):
        flow, blocks = Flow(Leg.CLIENT, CLIENT, PROXY, 0), PacketBlocks(NOW)
        for size in sizes:
            blocks.packet(flow, UP, ACK, [bytes(size)])
        found = [segment.source for _, segment in packets_of(blocks)]
        assert found == [CLIENT] * len(sizes) + [PROXY] * acknowledged
        assert (flow.halves[UP].unacked_bytes == 0) is (acknowledged or not any(sizes))


def test_a_flow_may_return_to_an_earlier_state():
    """Of what could not be written."""
    flow, blocks = Flow(Leg.CLIENT, CLIENT, PROXY, 4_000), PacketBlocks(NOW)
    blocks.packet(flow, UP, ACK, [b"abc"])
    before = flow.progress()
    assert before == [(4, 3, 3, 1), (1, 0, 0, 0)]
    blocks.packet(flow, DOWN, ACK, [b"x"])
    assert flow.progress() != before
    flow.restore(before)
    assert flow.progress() == before


def test_connections_with_the_same_ends_are_kept_apart():
    """By an address that nobody has; also one of which both ends are the same."""
    parts = []
    writer = CaptureWriter(parts.append, network="lbry-regtest", legs="both", metadata={})
    for session, source in ((1, CLIENT), (2, CLIENT), (3, PROXY), (4, Endpoint("10.0.0.4", 5))):
        writer.open(session, Leg.CLIENT, source, PROXY, NOW, {})
    items = pcapng.read(io.BytesIO(b"".join(parts)))
    opened = [dissect(each) for each in items if isinstance(each, Packet)]
    sources = [each.source for each in opened if each.flags == SYN]
    assert [sources[0], sources[3]] == [CLIENT, Endpoint("10.0.0.4", 5)]
    assert len(set(sources)) == 4
    for shown in sources[1:3]:
        assert shown.host.startswith("0.")


def test_what_could_not_be_written_leaves_no_trace(monkeypatch):
    """Neither a gap, nor bytes that a later file would miss."""
    parts = []
    writer = CaptureWriter(parts.append, network="lbry-regtest", legs="both", metadata={})
    writer.open(1, Leg.CLIENT, CLIENT, PROXY, 0, {})
    written = len(parts)
    original, calls = PacketBlocks.packet, []

    def packet(self, *arguments, **named):
        calls.append(arguments)
        if len(calls) == 2:
            raise MemoryError
        original(self, *arguments, **named)

    note = PacketNote("said", {})
    with monkeypatch.context() as patch:
        patch.setattr(PacketBlocks, "packet", packet)
        with pytest.raises(MemoryError):
            writer.data(1, Leg.CLIENT, UP, NOW, [Chunk(b"abc", note), Chunk(b"de", note)])
    assert len(calls) == 2
    assert len(parts) == written
    assert writer.position(1, Leg.CLIENT) == {UP: 0, DOWN: 0}
    writer.data(1, Leg.CLIENT, UP, NOW, [Chunk(b"abcde")])
    writer.skip(1, Leg.CLIENT, UP, 10)
    writer.data(1, Leg.CLIENT, UP, NOW, [Chunk(b"f")])
    assert writer.position(1, Leg.CLIENT) == {UP: 16, DOWN: 0}
    items = pcapng.read(io.BytesIO(b"".join(parts)))
    segments = [dissect(each) for each in items if isinstance(each, Packet)]
    assert [(each.sequence, each.payload) for each in segments if each.payload] == [
        (1, b"abcde"),
        (16, b"f"),
    ]
