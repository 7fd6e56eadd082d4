"""Tests of putting TCP streams in order again."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcproxy.capture.dropped import DropReason
from lbcproxy.capture.formats import read_packets
from lbcproxy.capture.ip.segments import dissect
from lbcproxy.capture.packet import ACK, FIN, PSH, RST, SYN, Packet, Segment
from lbcproxy.capture.tcp.reassembler import Reassembler
from lbcproxy.capture.tcp.stream_events import Closed, Data, Gap, Opened
from lbcproxy.capture.tcp.stream_events import StreamEvent as Event
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import UNKNOWN_SIZE

CAPTURES = Path(__file__).parents[3] / "captures"
CLIENT, SERVER = Endpoint("10.0.0.1", 40000), Endpoint("10.0.0.2", 9246)
WRAP = 2**32


def sent(
    sequence: int,
    payload: bytes = b"",
    flags: int = ACK,
    ack: int = 0,
    source: Endpoint = CLIENT,
    target: Endpoint = SERVER,
) -> Segment:
    """A segment, from the client if nothing else is said."""
    return Segment(source, target, sequence % WRAP, ack % WRAP, flags, payload)


def answered(sequence: int, payload: bytes = b"", flags: int = ACK, ack: int = 0) -> Segment:
    """A segment from the server."""
    return sent(sequence, payload, flags, ack, SERVER, CLIENT)


def handshake(client: int = 100, server: int = 500) -> list[Segment]:
    """The opening of a connection, with the sequence numbers of both SYNs."""
    return [
        sent(client, flags=SYN),
        answered(server, flags=SYN | ACK, ack=client + 1),
        sent(client + 1, ack=server + 1),
    ]


def events_of(segments: list[Segment], reassembler: Reassembler | None = None) -> list[Event]:
    """All events of segments that are fed at the times 0, 1, 2, ... and of the end."""
    reassembler = reassembler or Reassembler()
    events = [event for time, each in enumerate(segments) for event in reassembler.feed(time, each)]
    return events + reassembler.finish()


def stream(events: list[Event], *, from_client: bool, connection: int = 1) -> bytes:
    """The bytes of one direction, with a question mark for each that never came."""
    result = b""
    for event in events:
        if event.connection == connection:
            if isinstance(event, Data) and event.from_client == from_client:
                result += event.data
            elif isinstance(event, Gap) and event.from_client == from_client:
                result += b"?" * event.missing
    return result


def gaps(events: list[Event]) -> list[int]:
    """How much was missing, each time."""
    return [event.missing for event in events if isinstance(event, Gap)]


def closings(events: list[Event]) -> list[tuple[int, bool, bool]]:
    """What was closed: connection, from the client, by reset."""
    return [
        (each.connection, each.from_client, each.reset)
        for each in events
        if isinstance(each, Closed)
    ]


def test_a_plain_connection():
    """The usual case, event by event: who, what, when."""
    segments = [
        *handshake(),
        sent(101, b"ping", PSH | ACK, 501),
        answered(501, b"pong", PSH | ACK, 105),
        sent(105, flags=FIN | ACK, ack=505),
        answered(505, flags=FIN | ACK, ack=106),
        sent(106, ack=506),
    ]
    assert events_of(segments) == [
        Opened(1, CLIENT, SERVER, 0),
        Data(1, True, b"ping", 3),
        Data(1, False, b"pong", 4),
        Closed(1, True, False, 5),
        Closed(1, False, False, 6),
    ]


def test_the_time_is_that_of_the_packet_that_completed_the_bytes():
    """A message's time is when it could be read, not when its end happened to pass early."""
    segments = [*handshake(), sent(103, b"cd"), sent(101, b"ab")]
    assert events_of(segments)[1:] == [Data(1, True, b"ab", 4), Data(1, True, b"cd", 4)]


@pytest.mark.parametrize(
    "again",
    [
        pytest.param([sent(101, b"abcd")], id="exact"),
        pytest.param([sent(101, b"ab"), sent(103, b"cd")], id="parts"),
        pytest.param([sent(103, b"cdef")], id="overlap"),
        pytest.param([sent(104, b"d")], id="keep-alive"),
        pytest.param([sent(101, b"abcdef")], id="more"),
    ],
)
def test_repetitions_are_not_data_again(again: list[Segment]):
    """A byte of the stream counts once, however often it was sent."""
    events = events_of([*handshake(), sent(101, b"abcd"), *again, sent(105, b"efgh")])
    assert stream(events, from_client=True) == b"abcdefgh"
    assert not gaps(events)


@st.composite
def captured(draw: st.DrawFn) -> tuple[bytes, int, list[Segment]]:
    """A stream, its first sequence number, and segments of it, shuffled within a window."""
    data = draw(st.binary(min_size=1, max_size=300))
    first = draw(st.sampled_from([0, 1, WRAP - 1, WRAP - 50, WRAP - 300, 2**31 - 100, 12345]))
    cuts = sorted(draw(st.sets(st.integers(1, len(data)), max_size=20)) | {len(data)})
    slices = list(zip([0, *cuts], cuts, strict=False))
    places = st.integers(0, len(data))
    for low, high in draw(st.lists(st.tuples(places, places).map(sorted), max_size=10)):
        slices.insert(draw(st.integers(0, len(slices))), (low, high))
    made = [sent(first + low, data[low:high]) for low, high in slices]
    made.append(sent(first + len(data), flags=FIN | ACK))
    window = draw(st.integers(0, 12))
    order = [(at + draw(st.integers(0, window)), at) for at in range(len(made))]
    return data, first, [made[at] for _, at in sorted(order)]


@given(captured())
def test_any_order_and_repetition_gives_the_same_bytes(case: tuple[bytes, int, list[Segment]]):
    """Networks cut, repeat and shuffle; a stream is a stream."""
    data, first, segments = case
    opening = [sent(first - 1, flags=SYN), answered(7, flags=SYN | ACK, ack=first)]
    events = events_of(opening + segments)
    assert stream(events, from_client=True) == data
    assert not gaps(events)
    assert closings(events) == [(1, True, False)]


@given(captured(), st.data())
def test_lost_segments_leave_holes_of_the_right_size(
    case: tuple[bytes, int, list[Segment]], draw: st.DataObject
):
    """Bytes after a hole stay in their place, so that what follows can be told apart."""
    data, first, segments = case
    kept = [each for each in segments if each.flags & FIN or draw.draw(st.booleans())]
    opening = [sent(first - 1, flags=SYN), answered(7, flags=SYN | ACK, ack=first)]
    events = events_of(opening + kept)
    found = stream(events, from_client=True)
    held = set()
    for each in kept:
        place = (each.sequence - first) % WRAP
        held |= set(range(place, place + len(each.payload)))
    marked = "".join("x" if at in held else "?" for at in range(len(data)))
    assert len(found) == len(data)
    assert all(found[at] == data[at] for at in held)
    assert sum(gaps(events)) == marked.count("?")
    assert closings(events) == [(1, True, False)]


SECOND = 1_000_000_000


def test_an_acknowledged_hole_is_given_up_after_a_while():
    """The capture lost bytes that the peer has: they will not come, and later ones can be read."""
    reassembler = Reassembler()
    segments = [*handshake(), sent(104, b"def"), answered(501, ack=107)]
    events = [event for each in segments for event in reassembler.feed(5, each)]
    assert [type(event) for event in events] == [Opened]
    events = reassembler.feed(5 + SECOND + 1, sent(107, b"ghi"))
    assert events == [
        Gap(1, True, 3, 5),
        Data(1, True, b"def", 5),  # when it was captured, though that took a second to decide
        Data(1, True, b"ghi", 6 + SECOND),
    ]


def test_an_acknowledged_hole_is_given_up_after_many_packets():
    """A busy connection does not wait for the clock."""
    reassembler = Reassembler()
    for each in [*handshake(), sent(104, b"def"), answered(501, ack=107)]:
        reassembler.feed(5, each)
    events = [event for _ in range(300) for event in reassembler.feed(5, answered(501, ack=107))]
    assert events == [Gap(1, True, 3, 5), Data(1, True, b"def", 5)]


@pytest.mark.parametrize("late", [1, 2, 8, 100])
def test_packets_captured_behind_their_acknowledgment_are_not_lost(late: int):
    """Captures of several queues have packets out of order, acknowledgments before data too."""
    reassembler = Reassembler()
    segments = [*handshake(), sent(104, b"def"), answered(501, ack=107)]
    segments += [answered(501, ack=107)] * late
    segments.append(sent(101, b"abc"))
    events = [event for each in segments for event in reassembler.feed(5, each)]
    assert [each.data for each in events if isinstance(each, Data)] == [b"abc", b"def"]
    assert not any(isinstance(each, Gap) for each in events)


def test_a_hole_that_nobody_acknowledged_is_waited_for():
    """A segment that was lost on the way is sent again."""
    segments = [*handshake(), sent(104, b"def"), answered(501, ack=101), sent(101, b"abc")]
    events = events_of(segments)
    assert stream(events, from_client=True) == b"abcdef"
    assert not gaps(events)


def test_what_waits_is_bounded():
    """A hole in an hour of traffic must not keep the hour in memory."""
    reassembler = Reassembler(max_cost=10_000)
    for segment in handshake():
        reassembler.feed(0, segment)
    events: list[Event] = []
    for number in range(1, 13):
        events += reassembler.feed(number, sent(101 + number * 1000, bytes(1000)))
    assert gaps(events) == [1000]
    assert len(stream(events, from_client=True)) >= 9_000


def test_tiny_waiting_segments_are_bounded_as_well():
    """A segment costs more than its one byte."""
    reassembler = Reassembler(max_cost=10_000)
    for segment in handshake():
        reassembler.feed(0, segment)
    events = [
        event
        for number in range(100)
        for event in reassembler.feed(number, sent(200 + number * 2, b"x"))
    ]
    assert gaps(events)


def test_the_end_waits_for_the_bytes_before_it():
    """An end that overtakes data must not cut it off."""
    segments = [*handshake(), sent(104, flags=FIN | ACK), sent(101, b"abc")]
    assert events_of(segments)[1:] == [Data(1, True, b"abc", 4), Closed(1, True, False, 4)]


def test_missing_bytes_before_the_end_are_reported():
    """A stream that ends must say what it lacks."""
    events = events_of([*handshake(), sent(104, flags=FIN | ACK)])
    assert events[1:] == [Gap(1, True, 3, 3), Closed(1, True, False, 3)]


def test_a_reset_ends_both_directions():
    """Nothing comes after a reset, and what waited is given up."""
    segments = [
        *handshake(),
        answered(503, b"cd"),
        sent(101, b"x"),
        sent(102, flags=RST | ACK),
        answered(505, b"late"),
        sent(102, b"late"),
    ]
    reassembler = Reassembler()
    assert events_of(segments, reassembler)[1:] == [
        Data(1, True, b"x", 4),
        Gap(1, False, 2, 3),
        Data(1, False, b"cd", 3),
        Closed(1, True, True, 5),
    ]
    assert reassembler.dropped.packets(DropReason.AFTER_END) == 2


def test_a_reset_waits_for_the_bytes_before_it():
    """As an orderly end does."""
    segments = [*handshake(), sent(104, flags=RST), sent(101, b"abc")]
    assert events_of(segments)[1:] == [Data(1, True, b"abc", 4), Closed(1, True, True, 4)]


@pytest.mark.parametrize("sequence", [0, 90, 100, 101 + 2**30, 101 + 2**31])
def test_a_reset_outside_the_window_ends_nothing(sequence: int):
    """Firewalls send resets with sequence 0, which no receiver obeys (RFC 5961, 3.2)."""
    segments = [*handshake(), sent(sequence, flags=RST), sent(101, b"ab"), answered(501, b"AB")]
    reassembler = Reassembler()
    assert events_of(segments, reassembler)[1:] == [
        Data(1, True, b"ab", 4),
        Data(1, False, b"AB", 5),
    ]
    assert reassembler.dropped.packets(DropReason.IGNORED_RESET) == 1


def test_a_reset_in_the_window_is_believed_if_nothing_more_comes():
    """The tap may have lost what was sent before it, which the receiver got."""
    assert events_of([*handshake(), sent(104, flags=RST)])[1:] == [
        Gap(1, True, 3, 3),
        Closed(1, True, True, 3),
    ]


def test_a_reset_in_the_window_is_not_believed_if_its_sender_goes_on():
    """RFC 5961 has a receiver answer it with a challenge, to which nobody answers with a reset."""
    segments = [*handshake(), sent(104, flags=RST), sent(101, b"abcd"), sent(105, b"ef")]
    reassembler = Reassembler()
    events = events_of(segments, reassembler)
    assert stream(events, from_client=True) == b"abcdef"
    assert closings(events) == []
    assert reassembler.dropped.packets(DropReason.IGNORED_RESET) == 1


def test_a_reset_in_the_window_is_believed_after_twenty_minutes_of_silence():
    """Nodes are never silent for that long. Another connection's packets show the time."""
    reassembler = Reassembler()
    events = [event for each in handshake() for event in reassembler.feed(0, each)]
    events += reassembler.feed(5, sent(104, flags=RST))
    other = sent(1, flags=SYN, source=Endpoint("10.0.0.9", 50_000))
    assert not closings(events + reassembler.feed(1200 * SECOND, other))
    assert closings(reassembler.feed(1202 * SECOND, other)) == [(1, True, True)]


def test_a_reset_after_the_end_is_told():
    """A client that closes while data is under way resets: lost data has a reason."""
    segments = [*handshake(), sent(101, flags=FIN | ACK), sent(102, flags=RST)]
    assert events_of(segments)[1:] == [Closed(1, True, False, 3), Closed(1, True, True, 4)]


def test_two_resets_end_a_connection_once():
    """Both sides may break off; what is over ends no second time."""
    segments = [*handshake(), answered(501, flags=RST), sent(101, flags=RST)]
    assert events_of(segments)[1:] == [Closed(1, False, True, 3)]


@given(
    st.lists(
        st.builds(
            Segment,
            st.sampled_from([CLIENT, SERVER]),
            st.sampled_from([CLIENT, SERVER, Endpoint("10.0.0.3", 1)]),
            st.sampled_from([0, 1, 2, 5, 100, 2**31, WRAP - 1]) | st.integers(0, WRAP - 1),
            st.integers(0, 200),
            st.integers(0, 31),
            st.binary(max_size=30),
        ),
        max_size=60,
    )
)
def test_events_make_sense_whatever_is_captured(segments: list[Segment]):
    """Anyone who reads events may rely on their order, though anybody can forge segments."""
    opened, ended, reset = 0, set(), set()
    for event in events_of(segments, Reassembler(max_cost=2000)):
        if isinstance(event, Opened):
            opened += 1
            assert event.connection == opened
            continue
        assert event.connection <= opened
        assert event.connection not in reset
        if isinstance(event, Closed):
            (reset if event.reset else ended).add(
                event.connection if event.reset else (event.connection, event.from_client)
            )
        else:
            assert (event.connection, event.from_client) not in ended
            if isinstance(event, Gap):
                assert event.missing > 0 or event.missing == UNKNOWN_SIZE
            else:
                assert event.data


def test_a_refused_connection_is_opened_and_reset():
    """A capture shows attempts too."""
    segments = [sent(100, flags=SYN), answered(0, flags=RST | ACK, ack=101)]
    assert events_of(segments) == [Opened(1, CLIENT, SERVER, 0), Closed(1, False, True, 1)]


@pytest.mark.parametrize("repeated", [0, 1])
def test_a_repeated_opening_is_no_new_connection(repeated: int):
    """A SYN is sent again if its answer is late, and captures may hold it twice."""
    segments = [*handshake(), sent(101, b"ab"), handshake()[repeated], sent(103, b"cd")]
    events = events_of(segments)
    assert sum(isinstance(event, Opened) for event in events) == 1
    assert stream(events, from_client=True) == b"abcd"


def test_an_opening_that_comes_late_is_no_new_connection():
    """Captures of several network cards are not always in order."""
    events = events_of([sent(101, b"ab"), *handshake(), sent(103, b"cd")])
    assert sum(isinstance(event, Opened) for event in events) == 1
    assert stream(events, from_client=True) == b"abcd"


def test_an_opening_elsewhere_is_a_new_connection():
    """A connection seen only in its middle may end unseen as well."""
    events = events_of([sent(101, b"ab"), *handshake(9000, 9500), sent(9001, b"new")])
    assert stream(events, from_client=True, connection=1) == b"ab"
    assert stream(events, from_client=True, connection=2) == b"new"


def test_the_longer_of_two_waiting_segments_counts():
    """A repetition may carry more than what it repeats."""
    segments = [
        *handshake(),
        sent(103, b"c"),
        sent(103, b"cde"),
        sent(103, b"cd"),
        sent(101, b"ab"),
    ]
    events = events_of(segments)
    assert stream(events, from_client=True) == b"abcde"
    assert not gaps(events)


def test_the_same_ports_again_are_a_new_connection():
    """Ports are used again, after an orderly end even with the same sequence numbers."""
    one = [
        *handshake(),
        sent(101, b"one", FIN | ACK),
        answered(501, flags=FIN | ACK, ack=105),
        sent(105, ack=502),
    ]
    events = events_of([*one, *one])
    assert stream(events, from_client=True, connection=1) == b"one"
    assert stream(events, from_client=True, connection=2) == b"one"
    assert [event.connection for event in events if isinstance(event, Opened)] == [1, 2]


def test_a_new_connection_closes_the_one_that_had_its_ports():
    """A node that crashed comes back without having closed anything."""
    events = events_of([*handshake(), sent(104, b"def"), *handshake(9000, 9500), sent(9001, b"n")])
    assert stream(events, from_client=True, connection=1) == b"???def"
    assert stream(events, from_client=True, connection=2) == b"n"
    assert closings(events) == [(1, True, True)]


def test_what_comes_after_the_end_opens_nothing():
    """The last acknowledgment and repetitions follow every orderly end."""
    segments = [
        *handshake(),
        sent(101, b"ab", FIN | ACK),
        answered(501, flags=FIN | ACK, ack=104),
        sent(104, ack=502),
        sent(101, b"ab", FIN | ACK),
        answered(500, flags=SYN | ACK, ack=101),
    ]
    events = events_of(segments)
    assert sum(isinstance(event, Opened) for event in events) == 1
    assert stream(events, from_client=True) == b"ab"


def test_a_connection_without_beginning_takes_the_higher_port_for_the_client():
    """Recording often starts while nodes are already connected."""
    events = events_of([answered(70, b"pong", ack=30), sent(30, b"ping", ack=74)])
    assert events == [
        Opened(1, CLIENT, SERVER, 0, begun=False),
        Data(1, False, b"pong", 0),
        Data(1, True, b"ping", 1),
    ]


def test_a_port_that_is_a_servers_is_the_servers_however_high():
    """LBRY's simnet listens above where clients' ports begin."""
    low, high = Endpoint("10.0.0.1", 33000), Endpoint("10.0.0.2", 39246)
    for source, target in ((low, high), (high, low)):
        reassembler = Reassembler(server_ports=frozenset({39246}))
        segment = Segment(source, target, 5, 7, PSH | ACK, b"data")
        assert reassembler.feed(0, segment)[0] == Opened(1, low, high, 0, begun=False)


def test_the_answer_alone_tells_who_is_client():
    """The server answers with SYN and ACK, even to a port lower than its own."""
    low, high = Endpoint("10.0.0.1", 1000), Endpoint("10.0.0.2", 9246)
    events = events_of([sent(5, flags=SYN | ACK, source=high, target=low)])
    assert events == [Opened(1, low, high, 0)]


def test_packets_without_bytes_open_nothing():
    """Acknowledgments of a connection that is over are no connection."""
    assert events_of([sent(1), answered(1, flags=FIN | ACK), sent(2, flags=RST)]) == []


def test_interleaved_connections_are_kept_apart():
    """A node talks with many at once."""
    clients = [Endpoint("10.0.0.1", port) for port in range(40_000, 40_050)]
    segments = [sent(number, flags=SYN, source=each) for number, each in enumerate(clients)]
    for turn in range(20):
        for number, each in enumerate(clients):
            text = f"{number:02}".encode()
            segments.append(sent(number + 1 + turn * 2, text, source=each))
    events = events_of(segments)
    for number in range(50):
        text = f"{number:02}".encode()
        assert stream(events, from_client=True, connection=number + 1) == text * 20


def test_sequence_numbers_wrap_around_in_a_long_stream():
    """4 GiB are a day's sync; numbers have 32 bits."""
    reassembler = Reassembler()
    place, total = WRAP - 150_000, 0
    reassembler.feed(0, sent(place - 1, flags=SYN))
    for _ in range(10):
        for event in reassembler.feed(0, sent(place, bytes(60_000))):
            assert isinstance(event, Data)
            total += len(event.data)
        place += 60_000
    assert total == 600_000


def test_memory_does_not_grow_with_past_connections():
    """Recordings run for months."""
    reassembler = Reassembler()
    for number in range(5_000):
        client = Endpoint("10.0.0.1", number)
        reassembler.feed(0, sent(1, flags=SYN, source=client))
        reassembler.feed(0, sent(2, flags=RST, source=client))
    assert len(reassembler._open) + len(reassembler._remembered) <= 1024


@pytest.mark.parametrize("name", ["lbcd-sync", "lbcd-probe"])
def test_a_real_capture_gives_the_bytes_that_its_nodes_sent(name: str):
    """Recorded between two nodes of lbcd by tcpdump, counted and hashed by other means."""
    reassembler, events = Reassembler(), []
    with (CAPTURES / f"{name}.pcap").open("rb") as file:
        for packet in read_packets(file):
            assert isinstance(packet, Packet)
            segment = dissect(packet)
            if segment is not None:
                events += reassembler.feed(packet.time_ns, segment)
    events += reassembler.finish()
    assert not gaps(events)
    found = []
    for opened in events:
        if isinstance(opened, Opened):
            ends = opened.client.port, opened.server.port
            for from_client in (True, False):
                data = stream(events, from_client=from_client, connection=opened.connection)
                found.append((*ends[:: 1 if from_client else -1], data))
    truth = json.loads((CAPTURES / f"{name}.truth.json").read_text())
    expected = {(each["src"], each["dst"]): each for each in truth}
    assert {(source, target) for source, target, _ in found} == set(expected)
    for source, target, data in found:
        assert len(data) == expected[source, target]["bytes"]
        assert messages(data) == [tuple(each) for each in expected[source, target]["messages"]]


def messages(data: bytes) -> list[tuple[str, int, str]]:
    """Cut a stream of lbcd on regtest: command, size, and the first bytes of the SHA-256."""
    found, start = [], 0
    while start < len(data):
        assert data[start : start + 4] == bytes.fromhex("fae4aad1")
        size = int.from_bytes(data[start + 16 : start + 20], "little")
        payload = data[start + 24 : start + 24 + size]
        command = data[start + 4 : start + 16].rstrip(b"\0").decode()
        found.append((command, size, hashlib.sha256(payload).hexdigest()[:16]))
        start += 24 + size
    return found
