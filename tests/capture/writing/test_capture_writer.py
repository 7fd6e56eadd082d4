"""Tests of writing sessions as pcapng; Wireshark's own analysis is the judge of the TCP."""

import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcproxy import __version__
from lbcproxy.capture.formats import pcapng, read_packets
from lbcproxy.capture.ip.segments import MAX_PAYLOAD, dissect
from lbcproxy.capture.packet import ACK, FIN, PSH, RST, SYN, Leg, Packet, Section, Segment
from lbcproxy.capture.spans import intact_length
from lbcproxy.capture.tcp.reassembler import Reassembler
from lbcproxy.capture.tcp.stream_events import Closed, Data, Gap, Opened
from lbcproxy.capture.tcp.stream_events import StreamEvent as Event
from lbcproxy.capture.writing.capture_writer import CaptureWriter
from lbcproxy.capture.writing.chunks import Chunk
from lbcproxy.capture.writing.notes import PacketNote
from lbcproxy.endpoint import Endpoint
from lbcproxy.session.direction import Direction
from tests.tools import tshark

UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
CLIENT, PROXY = Endpoint("10.0.0.1", 40_000), Endpoint("10.0.0.2", 9246)
NODE = Endpoint("10.0.0.3", 9246)
CLIENT6, PROXY6 = Endpoint("2001:db8::1", 40_000), Endpoint("::1", 9246)
NOW = 1_700_000_000_000_000_000


class Recording:
    """What a writer wrote, one bytes a call."""

    def __init__(self, network: str = "lbry-regtest", **metadata: object) -> None:
        self.writes: list[bytes] = []
        self.writer = CaptureWriter(
            self.writes.append, network=network, legs="both", metadata=metadata
        )

    def open(
        self,
        session: int = 1,
        leg: Leg = Leg.CLIENT,
        source: Endpoint = CLIENT,
        target: Endpoint = PROXY,
        time_ns: int = NOW,
    ) -> None:
        """Open a leg."""
        self.writer.open(session, leg, source, target, time_ns, {"agent": "/lbcd/"})

    def data(self, direction: Direction, *chunks: Chunk | bytes, session: int = 1) -> None:
        """Write chunks on the client leg, those without note as plain bytes."""
        made = [Chunk(each) if isinstance(each, bytes) else each for each in chunks]
        self.writer.data(session, Leg.CLIENT, direction, NOW, made)

    def close(self, session: int = 1) -> None:
        """End the client leg in order, from the client first."""
        self.writer.finish(session, Leg.CLIENT, UP, NOW)
        self.writer.finish(session, Leg.CLIENT, DOWN, NOW)

    @property
    def packets(self) -> list[Packet]:
        """All packets, read back."""
        items = read_packets(io.BytesIO(b"".join(self.writes)))
        return [item for item in items if isinstance(item, Packet)]

    @property
    def segments(self) -> list[Segment]:
        """All segments, read back."""
        found = [dissect(packet) for packet in self.packets]
        assert None not in found
        return [segment for segment in found if segment is not None]

    @property
    def events(self) -> list[Event]:
        """All events, read back."""
        reassembler, events = Reassembler(), []
        for packet, segment in zip(self.packets, self.segments, strict=True):
            events += reassembler.feed(packet.time_ns, segment)
        return events + reassembler.finish()

    def save(self, folder: Path) -> str:
        """Write a file for other programs."""
        path = folder / "test.pcapng"
        path.write_bytes(b"".join(self.writes))
        return str(path)

    def with_payload(self) -> list[tuple[Packet, Segment]]:
        """The packets that carry data."""
        both = zip(self.packets, self.segments, strict=True)
        return [(packet, segment) for packet, segment in both if segment.payload]


def stream(events: Iterable[Event], *, from_client: bool, connection: int = 1) -> bytes:
    """The bytes of one direction."""
    return b"".join(
        event.data
        for event in events
        if isinstance(event, Data)
        and (event.connection, event.from_client) == (connection, from_client)
    )


def followed(path: str, number: int = 0) -> tuple[bytes, bytes]:
    """The bytes of a stream as tshark follows it: from the client, and from the server."""
    sides = [b"", b""]
    parts: list[list[str]] = [[], []]
    for line in tshark("-r", path, "-q", "-z", f"follow,tcp,raw,{number}").splitlines():
        if line and set(line.strip()) <= set("0123456789abcdef"):
            parts[line.startswith("\t")].append(line.strip())
    for side in (0, 1):
        sides[side] = bytes.fromhex("".join(parts[side]))
    return sides[0], sides[1]


def remarks(path: str) -> str:
    """What tshark finds wrong with the TCP of a file."""
    return tshark("-r", path, "-Y", "tcp.analysis.flags || _ws.malformed")


def test_construction_writes_the_head_in_one_go():
    """A file is readable from its first write on, and says what is in it."""
    recording = Recording(clock="wall")
    assert len(recording.writes) == 1
    (section,) = read_packets(io.BytesIO(recording.writes[0]))
    assert isinstance(section, Section)
    (custom,) = section.custom
    assert json.loads(custom) == {
        "schema": "lbcproxy/1",
        "network": "lbry-regtest",
        "legs": "both",
        "clock": "wall",
    }
    assert "lbry-regtest" in section.comments[0]
    assert "both legs" in section.comments[0]


def test_other_readers_see_who_wrote_and_which_leg(tmp_path: Path):
    """People look at recordings in Wireshark, where the interface tells the leg."""
    recording = Recording()
    recording.open()
    recording.open(leg=Leg.UPSTREAM, source=PROXY, target=NODE)
    fields = ["-T", "fields", "-e", "frame.interface_name", "-e", "frame.packet_flags_direction"]
    path = recording.save(tmp_path)
    lines = tshark("-r", path, *fields).split("\n")[:6]
    assert lines == [
        "client-leg\t0x00000001",
        "client-leg\t0x00000002",
        "client-leg\t0x00000001",
        "upstream-leg\t0x00000002",
        "upstream-leg\t0x00000001",
        "upstream-leg\t0x00000002",
    ]


def test_opening_is_a_handshake_that_names_the_session():
    """Wireshark sees a connection from its start, our reader which session it is."""
    recording = Recording()
    recording.writer.open(3, Leg.CLIENT, CLIENT, PROXY, NOW, {"agent": "/lbcd/"})
    assert len(recording.writes) == 2
    assert [segment.flags for segment in recording.segments] == [SYN, SYN | ACK, ACK]
    syn = recording.packets[0]
    assert syn.comments == ("session 3 client leg 10.0.0.1:40000 -> 10.0.0.2:9246",)
    assert [json.loads(text) for text in syn.custom] == [
        {"schema": "lbcproxy/1", "session": 3, "leg": "client", "agent": "/lbcd/"}
    ]
    assert recording.events == [Opened(1, CLIENT, PROXY, NOW)]


def test_pieces_without_note_share_a_packet():
    """A packet for each of ten thousand small messages would be mostly headers."""
    recording = Recording()
    recording.open()
    recording.data(UP, b"ping", b"", b"inv", b"tx")
    ((packet, segment),) = recording.with_payload()
    assert segment.payload == b"pinginvtx"
    assert segment.flags == PSH | ACK
    assert packet.comments == packet.custom == ()


def test_runs_are_cut_where_a_piece_begins():
    """What begins with a packet is found again when the packet before is lost."""
    recording = Recording()
    recording.open()
    recording.data(UP, bytes(40_000), bytes(25_495), b"a" * 30_000, b"b" * 40_000)
    sizes = [len(segment.payload) for _, segment in recording.with_payload()]
    assert sizes == [MAX_PAYLOAD, 30_000, 40_000]


def test_a_long_piece_begins_a_packet_and_is_split():
    """A block of two megabytes does not fit a packet."""
    recording = Recording()
    recording.open()
    recording.data(UP, b"before", b"x" * (2 * MAX_PAYLOAD + 1), b"after")
    found = [(len(s.payload), bool(s.flags & PSH)) for _, s in recording.with_payload()]
    assert found == [(6, True), (MAX_PAYLOAD, False), (MAX_PAYLOAD, False), (1, True), (5, True)]
    assert len(recording.writes) == 3


def test_a_long_piece_that_fills_its_packets_has_no_empty_one():
    """An empty packet looks like a repeated acknowledgment."""
    recording = Recording()
    recording.open()
    recording.data(UP, b"x" * (2 * MAX_PAYLOAD))
    found = [(len(s.payload), bool(s.flags & PSH)) for s in recording.segments[3:]]
    assert found == [(MAX_PAYLOAD, False), (MAX_PAYLOAD, True)]


def test_a_note_stands_on_the_last_packet_of_its_piece():
    """It is about all of the chunk, and known only when the chunk is."""
    recording = Recording()
    recording.open()
    note = PacketNote("dropped by filter.py", {"verdict": "drop", "trail": ["filter.py"]})
    recording.data(UP, b"before", Chunk(b"x" * (MAX_PAYLOAD + 1), note), b"after")
    found = [(len(s.payload), p.comments, p.custom) for p, s in recording.with_payload()]
    custom = '{"schema":"lbcproxy/1","verdict":"drop","trail":["filter.py"]}'
    assert found == [
        (6, (), ()),
        (MAX_PAYLOAD, (), ()),
        (1, ("dropped by filter.py",), (custom,)),
        (5, (), ()),
    ]


def test_a_note_without_bytes_is_kept():
    """The result of a message that was cut through may come after its last byte."""
    recording = Recording()
    recording.open()
    recording.data(UP, Chunk(b"", PacketNote("bad checksum", {})))
    assert recording.packets[-1].comments == ("bad checksum",)
    assert recording.segments[-1].payload == b""


def test_long_comments_are_cut_between_characters():
    """An option holds 64 KiB; a longer one would destroy the file."""
    recording = Recording()
    recording.open()
    recording.data(UP, Chunk(b"x", PacketNote("a" + "é" * 40_000, {})))
    (comment,) = recording.packets[-1].comments
    assert comment == "a" + "é" * 32_499


def test_too_many_facts_are_left_out_and_named():
    """Somebody's very long reason must not stop the recording, nor hide the verdict."""
    recording = Recording()
    recording.open()
    recording.data(UP, Chunk(b"x", PacketNote("", {"why": "w" * 70_000, "verdict": "drop"})))
    (text,) = recording.packets[-1].custom
    assert json.loads(text) == {"schema": "lbcproxy/1", "verdict": "drop", "omitted": ["why"]}


def test_invalid_text_does_not_stop_the_recording():
    """User agents are made of any bytes."""
    recording = Recording()
    recording.open()
    recording.data(UP, Chunk(b"x", PacketNote("agent \udc80", {})))
    assert recording.packets[-1].comments == ("agent \\udc80",)


def test_acknowledgments_count_what_came_the_other_way():
    """Otherwise analysis sees losses where there are none."""
    recording = Recording()
    recording.open()
    recording.data(UP, b"12345")
    recording.data(DOWN, b"123")
    recording.data(UP, b"6")
    base = recording.segments[0].sequence
    counted = [
        (segment.sequence - base, segment.acknowledgment - base)
        for _, segment in recording.with_payload()
    ]
    assert counted == [(1, 1), (1, 6), (6, 4)]


def test_the_end_of_both_directions_forgets_the_flow():
    """Memory must not grow with the sessions that were."""
    recording = Recording()
    for number in range(1, 50):
        recording.open(number)
        recording.data(UP, b"x", session=number)
        if number % 2:
            recording.close(number)
        else:
            recording.writer.reset(number, Leg.CLIENT, DOWN, NOW)
    assert not recording.writer._flows
    assert not recording.writer._ends


def test_one_direction_may_end_before_the_other():
    """A half-closed connection still carries answers."""
    recording = Recording()
    recording.open()
    recording.writer.finish(1, Leg.CLIENT, UP, NOW, PacketNote("client left", {"by": "client"}))
    recording.data(DOWN, b"late")
    recording.writer.finish(1, Leg.CLIENT, DOWN, NOW)
    assert recording.events[1:] == [
        Closed(1, True, False, NOW),
        Data(1, False, b"late", NOW),
        Closed(1, False, False, NOW),
    ]
    base = recording.segments[0].sequence
    assert recording.segments[4] == Segment(PROXY, CLIENT, base + 1, base + 2, ACK, b"")
    (ended,) = [
        packet
        for packet, segment in zip(recording.packets, recording.segments, strict=True)
        if segment.flags & FIN and segment.source == CLIENT
    ]
    assert ended.comments == ("client left",)


def test_a_reset_ends_the_flow():
    """Who broke off, and why, is in the recording."""
    recording = Recording()
    recording.open()
    recording.data(UP, b"x")
    recording.writer.reset(1, Leg.CLIENT, DOWN, NOW, PacketNote("by a plugin", {"by": "plugin"}))
    assert recording.segments[-1].flags == RST | ACK
    assert recording.packets[-1].comments == ("by a plugin",)
    assert recording.events[-1] == Closed(1, False, True, NOW)


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda r: r.data(UP, b"x"), id="data after the end"),
        pytest.param(lambda r: r.writer.finish(1, Leg.CLIENT, UP, NOW), id="end after the end"),
        pytest.param(lambda r: r.open(1), id="open twice"),
        pytest.param(lambda r: r.data(UP, b"x", session=2), id="data of an unknown session"),
        pytest.param(lambda r: r.writer.reset(1, Leg.UPSTREAM, UP, NOW), id="unknown leg"),
    ],
)
def test_what_cannot_be_is_refused_and_not_written(call: Callable[[Recording], None]):
    """A mistake in the caller must not make a file that lies."""
    recording = Recording()
    recording.open()
    recording.writer.finish(1, Leg.CLIENT, UP, NOW)
    before = len(recording.writes)
    with pytest.raises(ValueError, match="session"):
        call(recording)
    assert len(recording.writes) == before


def test_every_call_writes_whole_blocks_once():
    """Whatever moment the process dies at, the file ends with a whole block."""
    recording = Recording()
    recording.open()
    recording.data(UP, b"one", bytes(200_000), Chunk(b"two", PacketNote("n", {})))
    recording.data(UP)
    recording.close()
    assert len(recording.writes) == 5
    written = b""
    for each in recording.writes:
        written += each
        assert intact_length(pcapng.spans(io.BytesIO(written))) == len(written)


@pytest.mark.slow
def test_a_second_writer_continues_a_file(tmp_path: Path):
    """A recording is appended to when the proxy starts again, even with the same ports."""
    recordings = [Recording(run=1), Recording(run=2)]
    for number, recording in enumerate(recordings):
        recording.open(time_ns=NOW + number * 1_000_000_000)
        recording.data(UP, b"run", bytes([48 + number]))
    recordings[0].writes += recordings[1].writes
    path = recordings[0].save(tmp_path)
    assert (followed(path, 0)[0], followed(path, 1)[0]) == (b"run0", b"run1")
    events = recordings[0].events
    assert [stream(events, from_client=True, connection=each) for each in (1, 2)] == [
        b"run0",
        b"run1",
    ]


def test_open_flows_with_the_same_addresses_are_kept_apart():
    """UNIX sockets have none, and one proxy's upstream leg may be another's client leg."""
    recording = Recording()
    socket = Endpoint("/run/node.sock", 0)
    for number in (1, 2):
        recording.open(number, source=socket, target=socket)
        recording.writer.open(number, Leg.UPSTREAM, socket, socket, NOW, {})
    for number in (1, 2):
        recording.data(UP, b"client", bytes([48 + number]), session=number)
        chunks = [Chunk(b"upstream"), Chunk(bytes([48 + number]))]
        recording.writer.data(number, Leg.UPSTREAM, UP, NOW, chunks)
    events = recording.events
    found = [stream(events, from_client=True, connection=each) for each in (1, 2, 3, 4)]
    assert found == [b"client1", b"upstream1", b"client2", b"upstream2"]


conversations = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.sampled_from([UP, DOWN]),
        st.lists(st.tuples(st.binary(max_size=30), st.integers(1, 4000), st.booleans())),
    ),
    max_size=12,
)


@pytest.mark.slow
@given(conversations, st.sampled_from([(CLIENT, PROXY), (CLIENT6, PROXY6), (CLIENT, PROXY6)]))
@settings(deadline=None)
def test_whatever_is_written_is_read_back(
    calls: list[tuple[int, Direction, list[tuple[bytes, int, bool]]]],
    ends: tuple[Endpoint, Endpoint],
):
    """Several sessions at once, chunks of all sizes, with notes and without."""
    recording = Recording()
    expected: dict[tuple[int, bool], bytes] = {}
    notes = 0
    for number in (1, 2, 3):
        client = Endpoint(ends[0].host, ends[0].port + number)
        recording.open(number, source=client, target=ends[1])
    for session, direction, made in calls:
        chunks = [
            Chunk(text * times, PacketNote("n", {"n": 1}) if noted else None)
            for text, times, noted in made
        ]
        notes += sum(noted for _, _, noted in made)
        recording.data(direction, *chunks, session=session)
        key = session, direction is UP
        expected[key] = expected.get(key, b"") + b"".join(chunk.raw for chunk in chunks)
    events = recording.events
    assert not any(isinstance(event, Gap) for event in events)
    for (session, from_client), data in expected.items():
        assert stream(events, from_client=from_client, connection=session) == data
    assert sum(len(packet.custom) for packet in recording.packets) == notes + 3


@pytest.mark.slow
def test_sequence_numbers_wrap_around(tmp_path: Path):
    """They have 32 bits; the clock may start them anywhere."""
    recording = Recording()
    recording.open(time_ns=(2**32 - 100_000) * 4_000)
    for _ in range(5):
        recording.data(UP, b"x" * 50_000)
    assert max(s.sequence for s in recording.segments) > 2**32 - 200_000
    assert min(s.sequence for s in recording.segments) < 200_000
    assert len(stream(recording.events, from_client=True)) == 250_000
    path = recording.save(tmp_path)
    assert remarks(path) == ""
    assert followed(path)[0] == b"x" * 250_000


@pytest.mark.slow
@pytest.mark.parametrize("ends", [(CLIENT, PROXY), (CLIENT6, PROXY6)], ids=["ipv4", "ipv6"])
def test_tshark_has_nothing_to_remark_and_follows_the_bytes(
    ends: tuple[Endpoint, Endpoint], tmp_path: Path
):
    """Sessions interleaved, on both legs, to every kind of end."""
    recording = Recording()
    up, down = bytearray(), bytearray()
    for number in (1, 2, 3):
        client = Endpoint(ends[0].host, ends[0].port + number)
        recording.open(number, source=client, target=ends[1], time_ns=NOW - number)
        proxy = Endpoint(ends[1].host, 50_000 + number)
        recording.writer.open(number, Leg.UPSTREAM, proxy, ends[1], NOW - number, {})
    for turn in range(20):
        for number in (1, 2, 3):
            sent = bytes([turn, number]) * (1 + turn * 300)
            note = PacketNote(f"turn {turn}", {"turn": turn})
            recording.data(UP, sent, b"tail", session=number)
            recording.data(DOWN, Chunk(sent[::-1], note), bytes(70_000), session=number)
            if number == 2:
                up += sent + b"tail"
                down += sent[::-1] + bytes(70_000)
    recording.writer.finish(1, Leg.CLIENT, UP, NOW + 1)
    recording.data(DOWN, b"late")
    recording.data(DOWN, b"later")
    recording.writer.finish(1, Leg.CLIENT, DOWN, NOW + 2)
    recording.writer.finish(2, Leg.CLIENT, DOWN, NOW + 2)
    recording.writer.reset(2, Leg.CLIENT, DOWN, NOW + 2)
    recording.writer.reset(3, Leg.CLIENT, UP, NOW + 3)
    path = recording.save(tmp_path)
    assert remarks(path) == ""
    assert followed(path, 2) == (bytes(up), bytes(down))
    fields = tshark("-r", path, "-Y", 'frame.comment == "turn 7"', "-T", "fields", "-e", "tcp.len")
    assert fields.split() == [str(2 * (1 + 7 * 300))] * 3


@pytest.mark.slow
def test_tshark_sees_only_reused_ports_when_ports_are_reused(tmp_path: Path):
    """Taken for repetitions, the later sessions would not be shown at all."""
    recording = Recording()
    for number in (1, 2, 3):
        recording.open(number, time_ns=NOW + number * 1_000_000)
        recording.data(UP, b"session", bytes([48 + number]), session=number)
        recording.close(number)
    path = recording.save(tmp_path)
    fields = ["-T", "fields", "-e", "tcp.analysis.reused_ports", "-e", "tcp.flags.syn"]
    found = tshark("-r", path, "-Y", "tcp.analysis.flags", *fields).split()
    assert found == ["1", "1", "1", "1"]
    assert [followed(path, number)[0] for number in (0, 1, 2)] == [
        b"session1",
        b"session2",
        b"session3",
    ]


@pytest.mark.slow
def test_forty_megabytes_one_way_trouble_no_analysis(tmp_path: Path):
    """A first sync is one-way for hours: the window must not look full, nor memory grow."""
    recording = Recording()
    recording.open()
    for number in range(400):
        recording.data(DOWN, bytes([number % 256]) * 100_000)
    recording.close()
    path = recording.save(tmp_path)
    assert remarks(path) == ""
    scaled = tshark("-r", path, "-Y", "tcp.window_size < 1000000 && tcp.flags.syn == 0")
    assert scaled == ""
    unacknowledged = tshark(
        "-r", path, "-Y", "tcp.analysis.bytes_in_flight > 1200000", "-T", "fields", "-e", "tcp.len"
    )
    assert unacknowledged == ""
    data = followed(path)[1]
    assert data == b"".join(bytes([number % 256]) * 100_000 for number in range(400))


@pytest.mark.slow
def test_one_piece_of_the_largest_message(tmp_path: Path):
    """32 MiB is the most a message may have."""
    recording = Recording()
    recording.open()
    chunk = bytes(range(256)) * (2**25 // 256)
    recording.data(DOWN, Chunk(chunk, PacketNote("long", {})), b"next")
    recording.close()
    assert stream(recording.events, from_client=False) == chunk + b"next"
    path = recording.save(tmp_path)
    assert remarks(path) == ""
    assert followed(path)[1] == chunk + b"next"


def test_python_pcapng_reads_it():
    """A reader that shares no code with ours agrees about every packet."""
    pytest.importorskip("pcapng", reason="install python-pcapng")
    from pcapng import FileScanner
    from pcapng.blocks import EnhancedPacket, SectionHeader

    recording = Recording()
    recording.open()
    recording.data(UP, b"one", Chunk(b"two", PacketNote("a note", {"x": 1})), bytes(70_000))
    recording.close()
    blocks = list(FileScanner(io.BytesIO(b"".join(recording.writes))))
    (section,) = [block for block in blocks if isinstance(block, SectionHeader)]
    assert section.options["shb_userappl"] == f"lbcproxy {__version__}"
    packets = [block for block in blocks if isinstance(block, EnhancedPacket)]
    assert [block.packet_data for block in packets] == [each.data for each in recording.packets]
    comments = [tuple(block.options.get_all("opt_comment")) for block in packets]
    assert comments == [packet.comments for packet in recording.packets]
    assert abs(packets[0].timestamp - NOW / 1e9) < 1e-3
