"""Tests of putting a connection's beginning first."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcproxy.capture.packet import ACK, FIN, PSH, RST, SYN, Packet, Segment
from lbcproxy.capture.tcp import lookahead
from lbcproxy.capture.tcp.lookahead import Lookahead
from lbcproxy.capture.tcp.reassembler import Reassembler
from lbcproxy.capture.tcp.stream_events import Data, Gap, Opened
from lbcproxy.capture.tcp.stream_events import StreamEvent as Event
from lbcproxy.endpoint import Endpoint

CLIENT, SERVER = Endpoint("10.0.0.1", 40000), Endpoint("10.0.0.2", 9246)
WRAP = 2**32
SECOND = 1_000_000_000


def sent(sequence, payload=b"", flags=ACK, ack=0, source=CLIENT, target=SERVER):
    """A segment, from the client if nothing else is said."""
    return Segment(source, target, sequence % WRAP, ack % WRAP, flags, payload)


def answered(sequence, payload=b"", flags=ACK, ack=0):
    """A segment from the server."""
    return sent(sequence, payload, flags, ack, SERVER, CLIENT)


def read(segments, times=None):
    """Return the order in which segments are read, and the events of that."""
    reassembler = Reassembler()
    lookahead = Lookahead(reassembler.knows)
    order: list[Segment] = []
    events: list[Event] = []

    def take(each):
        for packet, segment in each:
            order.append(segment)
            events.extend(reassembler.feed(packet.time_ns, segment))

    for number, segment in enumerate(segments):
        time = number if times is None else times[number]
        take(lookahead.feed(Packet(time, 101, b"", number), segment))
    take(lookahead.finish())
    return order, events + reassembler.finish()


def stream(events, *, from_client, connection=1):
    """The bytes of one direction, with a question mark for each that never came."""
    result = b""
    for event in events:
        if event.connection == connection and not isinstance(event, Opened):
            missing = event.missing if isinstance(event, Gap) else 0
            data = event.data if isinstance(event, Data) else b"?" * missing
            result += data if event.from_client == from_client else b""
    return result


TALK = [
    sent(100, flags=SYN),
    answered(500, flags=SYN | ACK, ack=101),
    sent(101, ack=501),
    sent(101, b"version!", PSH | ACK, 501),
    answered(501, b"VERSION!", PSH | ACK, 109),
    answered(509, b"VERACK", PSH | ACK, 109),
    sent(109, b"verack", PSH | ACK, 515),
    sent(115, b"getaddr", PSH | ACK, 515),
    sent(122, flags=FIN | ACK, ack=515),
    answered(515, flags=FIN | ACK, ack=123),
]


def test_packets_in_order_stay_so():
    """The usual case."""
    assert read(TALK)[0] == TALK


@given(st.permutations(range(len(TALK) - 2)))
@settings(max_examples=300)
def test_any_order_of_a_beginning_gives_all_bytes_of_both_sides(order):
    """Captures of several queues have the SYNs after the first data, by little."""
    shuffled = [TALK[at] for at in order] + TALK[-2:]
    events = read(shuffled)[1]
    assert [(e.client, e.server) for e in events if isinstance(e, Opened)] == [(CLIENT, SERVER)]
    assert stream(events, from_client=True) == b"version!verackgetaddr"
    assert stream(events, from_client=False) == b"VERSION!VERACK"


@given(st.permutations(TALK[3:-2]))
def test_any_order_of_the_middle_of_a_conversation_gives_all_bytes_of_it(order):
    """Without a SYN, the earliest bytes nearby are where reading begins."""
    events = read(order)[1]
    assert stream(events, from_client=True) == b"version!verackgetaddr"
    assert stream(events, from_client=False) == b"VERSION!VERACK"
    [opened] = [event for event in events if isinstance(event, Opened)]
    assert not opened.begun


def test_sequence_numbers_that_wrap_around_are_in_order():
    """The earliest is not the lowest."""
    segments = [sent(2, b"cd"), sent(WRAP - 2, b"wxab"), sent(4, b"ef")]
    assert stream(read(segments)[1], from_client=True) == b"wxabcdef"


def test_bytes_of_another_time_are_not_the_beginning():
    """A keep-alive of long ago, or a forged packet, would make a gap of gigabytes."""
    segments = [sent(2**31, b"ab"), sent(5, b"old"), sent(2**31 + 2, b"cd")]
    assert stream(read(segments)[1], from_client=True).startswith(b"abcd")


def test_a_syn_of_the_next_connection_is_not_taken_for_this_ones():
    """Ports are used again, also within a second."""
    first = [sent(101, b"one"), sent(104, flags=RST)]
    second = [sent(9000, flags=SYN), sent(9001, b"two")]
    assert read([*first, *second])[0] == [*first, *second]
    reopened = [sent(100, flags=SYN), sent(101, b"one"), *second]
    assert read(reopened)[0] == reopened


@pytest.mark.parametrize("far", ["packets", "time"])
def test_what_is_far_away_is_not_waited_for(far):
    """Memory and delay are bounded."""
    other = Endpoint("10.0.0.9", 50000)
    between = [sent(1, flags=SYN, source=other)] * 300
    segments = [sent(103, b"cd"), *between, sent(101, b"ab")]
    times = None
    if far == "time":
        segments, times = [segments[0], segments[-1]], [0, SECOND + 1]
    assert read(segments, times)[0] == segments


@pytest.mark.slow
def test_at_most_a_window_is_held():
    """The last packets of a file come with its end, the others before."""
    lookahead = Lookahead(lambda _: False)
    given = 0
    for number in range(1_000):
        given += len(list(lookahead.feed(Packet(5, 101, b"", number), TALK[3])))
    assert given == 1_000 - 255
    assert len(list(lookahead.finish())) == 255


def test_nothing_waits_where_all_is_known():
    """A pipe shows a message when it is there."""
    lookahead = Lookahead(lambda _: True)
    assert list(lookahead.feed(Packet(5, 101, b"", 1), TALK[3])) == [
        (Packet(5, 101, b"", 1), TALK[3])
    ]


def test_many_connections_at_once_are_each_begun_right():
    """A node that starts connects to many."""
    segments = []
    for port in range(40):
        client = Endpoint("10.0.0.1", 41_000 + port)
        flow = [
            sent(100, flags=SYN, source=client),
            Segment(SERVER, client, 500, 101, SYN | ACK, b""),
            sent(101, b"a", source=client),
            Segment(SERVER, client, 501, 102, ACK, b"A"),
            sent(102, b"b", source=client),
            Segment(SERVER, client, 502, 103, ACK, b"B"),
        ]
        segments += flow
    random.Random(5).shuffle(segments)
    events = read(segments)[1]
    assert sum(isinstance(event, Opened) for event in events) == 40
    for connection in range(1, 41):
        assert stream(events, from_client=True, connection=connection) == b"ab"
        assert stream(events, from_client=False, connection=connection) == b"AB"


FAR = 2**20
"""Bytes that may be captured before their SYN."""


@pytest.mark.parametrize(
    ("syn", "segment", "begins"),
    [
        # Of the same side: the byte after the SYN, a keep-alive before it, or what follows soon.
        (sent(100, flags=SYN), sent(101, b"a"), True),
        (sent(100, flags=SYN), sent(100, b"a"), True),
        (sent(100, flags=SYN), sent(99, b"a"), False),
        (sent(100, flags=SYN), sent(100 + FAR, b"a"), True),
        (sent(100, flags=SYN), sent(101 + FAR, b"a"), False),
        (sent(WRAP - 1, flags=SYN), sent(0, b"a"), True),
        # Of the other side than an answer, which acknowledges its SYN.
        (answered(500, flags=SYN | ACK, ack=101), sent(101, b"a"), True),
        (answered(500, flags=SYN | ACK, ack=101), sent(100, b"a"), True),
        (answered(500, flags=SYN | ACK, ack=101), sent(99, b"a"), False),
        (answered(500, flags=SYN | ACK, ack=101), sent(100 + FAR, b"a"), True),
        (answered(500, flags=SYN | ACK, ack=101), sent(101 + FAR, b"a"), False),
        # Of the other side than a SYN, by what it acknowledges.
        (sent(100, flags=SYN), answered(9, b"a", ack=101), True),
        (sent(100, flags=SYN), answered(9, b"a", ack=100), True),
        (sent(100, flags=SYN), answered(9, b"a", ack=100 + FAR), True),
        (sent(100, flags=SYN), answered(9, b"a", ack=101 + FAR), False),
        (sent(100, flags=SYN), answered(9, flags=SYN | ACK, ack=101), True),
        (sent(100, flags=SYN), answered(9, flags=SYN | ACK, ack=102), False),
        (sent(100, flags=SYN), answered(9, flags=SYN | ACK, ack=100), False),
        # Without an acknowledgment, only the answer to the SYN shows it.
        (sent(100, flags=SYN), answered(9, flags=RST), True),
        (sent(100, flags=SYN), answered(9, b"a", flags=PSH), True),
    ],
)
def test_a_syn_belongs_to_a_segment_by_their_numbers(syn, segment, begins):
    """On ports that were used before, the SYN may be of the next connection."""
    assert lookahead._begins(syn, segment) is begins


def test_an_answer_is_read_after_its_syn_though_a_stray_came_before_both():
    """The numbers of the first segment may be forged, not those of the answer to the SYN."""
    stray = sent(50_000_000, b"?")
    answer, syn = answered(500, flags=SYN | ACK, ack=101), sent(100, flags=SYN)
    after = [sent(101, b"ab"), answered(501, b"cd", ack=103)]
    events = read([stray, answer, syn, *after])[1]
    data = [each.data for each in events if isinstance(each, Data)]
    assert data[-2:] == [b"ab", b"cd"]


@pytest.mark.parametrize(("time", "waits"), [(SECOND, True), (SECOND + 1, False)])
def test_a_packet_waits_a_second_at_most(time, waits):
    """By the times of the packets."""
    ahead = Lookahead(lambda segment: False)
    first, second = sent(103, b"cd"), sent(9_000, b"x", source=Endpoint("10.0.0.9", 50_000))
    assert list(ahead.feed(Packet(0, 101, b"", 0), first)) == []
    found = [each for _, each in ahead.feed(Packet(time, 101, b"", 1), second)]
    assert found == ([] if waits else [first])


@pytest.mark.parametrize("count", [256, 257])
def test_so_many_packets_wait_at_most(count):
    """However short the time."""
    ahead = Lookahead(lambda segment: False)
    found = []
    for number in range(count):
        segment = sent(1_000 + number, b"x", source=Endpoint("10.0.0.9", 50_000 + number))
        found += [each.sequence for _, each in ahead.feed(Packet(1, 101, b"", number), segment)]
    assert found == [1_000, 1_001][: count - 255]
    assert len(list(ahead.finish())) == 255


@pytest.mark.parametrize(
    ("segment", "has_begun"),
    [
        (sent(100, flags=SYN), True),
        (answered(500, flags=SYN | ACK), False),
        (sent(101), True),
        (sent(101, b"x"), False),
        (sent(101, flags=FIN | ACK), False),
        (sent(101, flags=RST), False),
    ],
)
def test_what_need_not_wait(segment, has_begun):
    """A SYN, an acknowledgment, and whatever is known."""
    assert Lookahead(lambda segment: False)._has_begun(segment) is has_begun
    assert Lookahead(lambda segment: True)._has_begun(segment)


def test_an_answer_alone_is_the_beginning_if_its_numbers_say_so():
    """That of another connection on the same ports stays where it is."""
    answer = answered(500, flags=SYN | ACK, ack=101)
    assert read([sent(101, b"ab"), answer])[0] == [answer, sent(101, b"ab")]
    stray = sent(50_000_000, b"ab")
    assert read([stray, answer])[0] == [stray, answer]


def test_a_syn_comes_before_its_answer():
    """However they were captured."""
    syn, answer = sent(100, flags=SYN), answered(500, flags=SYN | ACK, ack=101)
    data = sent(101, b"ab")
    assert read([data, answer, syn])[0] == [syn, answer, data]
    assert read([answer, data, syn])[0] == [syn, answer, data]
