"""The streams of our own recordings: nothing waits, and nothing is guessed."""

import pytest

from lbcproxy.capture.packet import ACK, FIN, PSH, RST, SYN, Segment
from lbcproxy.capture.tcp import ordered
from lbcproxy.capture.tcp.ordered import OrderedStreams
from lbcproxy.capture.tcp.stream_events import Closed, Data, Forgotten, Gap, Opened
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import UNKNOWN_SIZE

CLIENT, SERVER = Endpoint("10.0.0.1", 5000), Endpoint("10.0.0.2", 9246)
WRAP = 1 << 32


class Streams:
    """Segments of a connection, given to the streams one after another."""

    def __init__(self, client=CLIENT):
        self.streams = OrderedStreams()
        self.client = client
        self.time = 0

    def segment(self, flags, sequence, data=b"", *, from_client=True, client=None, **named):
        """Accept a segment; return its events."""
        self.time += 1
        ends = client or self.client, SERVER
        if not from_client:
            ends = ends[::-1]
        segment = Segment(*ends, sequence % WRAP, 1, flags, data)
        return self.streams.feed(self.time, segment, **named)

    def open(self, *, client_sequence=100, server_sequence=500):
        """Open the connection from both sides."""
        found = self.segment(SYN, client_sequence)
        return found + self.segment(SYN | ACK, server_sequence, from_client=False)

    @property
    def open_ends(self):
        """The clients of all open connections."""
        return [min(each, key=str) for each in self.streams.open_ends()]


def test_a_syn_opens_a_connection():
    """Its answer opens none; the next bytes come after it."""
    streams = Streams()
    assert streams.segment(SYN, 100) == [Opened(1, CLIENT, SERVER, 1)]
    assert streams.segment(SYN | ACK, 500, from_client=False) == []
    assert streams.segment(ACK, 101) == []
    assert streams.segment(ACK | PSH, 101, b"ab") == [Data(1, True, b"ab", 4)]
    assert streams.segment(ACK | PSH, 103, b"c") == [Data(1, True, b"c", 5)]
    assert streams.segment(ACK, 501, b"d", from_client=False) == [Data(1, False, b"d", 6)]
    assert streams.open_ends == [CLIENT]


def test_sequence_numbers_wrap_around():
    """In the middle of a message, and after the SYN."""
    streams = Streams()
    streams.open(client_sequence=WRAP - 1, server_sequence=WRAP - 3)
    assert streams.segment(ACK, 0, b"ab") == [Data(1, True, b"ab", 3)]
    assert streams.segment(ACK, WRAP - 2, b"cdef", from_client=False) == [
        Data(1, False, b"cdef", 4)
    ]
    assert streams.segment(ACK, 2, b"g", from_client=False) == [Data(1, False, b"g", 5)]


@pytest.mark.parametrize(
    ("ahead", "missing"),
    [(1, 1), (5_000, 5_000), ((1 << 31) - 1, (1 << 31) - 1), (WRAP - 1, UNKNOWN_SIZE)],
)
def test_an_unexpected_number_is_a_gap(ahead, missing):
    """Of bytes or of the FIN; an acknowledgment or a reset holds no bytes."""
    for flags, data in ((ACK, b"x"), (FIN | ACK, b"")):
        streams = Streams()
        streams.open()
        found = streams.segment(flags, 101 + ahead, data)
        assert found[0] == Gap(1, True, missing, 3)
        assert len(found) == 2
    streams = Streams()
    streams.open()
    assert streams.segment(ACK, 101 + ahead) == []
    assert streams.segment(ACK, 101, b"x") == [Data(1, True, b"x", 4)]
    assert streams.segment(RST, 102 + ahead) == [Closed(1, True, True, 5)]


def test_a_gap_whose_size_is_annotated():
    """Sequence numbers cannot tell one of gigabytes; none is a gap of nothing."""
    streams = Streams()
    streams.open()
    assert streams.segment(ACK, 101, b"x", missing=1 << 40) == [
        Gap(1, True, 1 << 40, 3),
        Data(1, True, b"x", 3),
    ]
    assert streams.segment(ACK, 102, b"y", missing=0) == [Data(1, True, b"y", 4)]
    assert streams.segment(ACK, 103, missing=7) == [Gap(1, True, 7, 5)]


def test_both_sides_close():
    """Each once; then nothing of it is kept."""
    streams = Streams()
    streams.open()
    assert streams.segment(FIN | ACK, 101, b"end") == [
        Data(1, True, b"end", 3),
        Closed(1, True, False, 3),
    ]
    assert streams.segment(FIN | ACK, 105) == []
    assert streams.segment(ACK, 105, b"after its end") == []
    assert streams.open_ends == [CLIENT]
    assert streams.segment(FIN | ACK, 501, from_client=False) == [Closed(1, False, False, 6)]
    assert streams.open_ends == []
    assert streams.segment(FIN | ACK, 501, from_client=False) == []


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("from_client", [False, True])
def test_a_reset_is_the_end(closed, from_client):
    """Also after a FIN of the same side."""
    streams = Streams()
    streams.open()
    sequence = 101 if from_client else 501
    if closed:
        streams.segment(FIN | ACK, sequence, from_client=from_client)
    found = streams.segment(RST | ACK, sequence, from_client=from_client)
    assert found == [Closed(1, from_client, True, 4 if closed else 3)]
    assert streams.open_ends == []


def test_a_connection_whose_start_is_missing():
    """The file was cut: the first bytes open it, and nothing else does."""
    streams = Streams()
    for flags in (ACK, FIN | ACK, RST):
        assert streams.segment(flags, 700) == []
    assert streams.segment(ACK, 700, b"x") == [
        Opened(1, CLIENT, SERVER, 4, False),
        Data(1, True, b"x", 4),
    ]
    assert streams.segment(ACK, 900, b"y", from_client=False) == [Data(1, False, b"y", 5)]


def test_a_syn_ack_alone_opens_a_connection_too():
    """From the other side."""
    streams = Streams()
    assert streams.segment(SYN | ACK, 500, from_client=False) == [Opened(1, CLIENT, SERVER, 1)]
    assert streams.segment(ACK, 501, b"x", from_client=False) == [Data(1, False, b"x", 2)]
    assert streams.segment(ACK, 901, b"y") == [Data(1, True, b"y", 3)]


@pytest.mark.parametrize("from_client", [True, False])
def test_a_syn_ends_what_had_the_same_ports(from_client):
    """Nobody closed that: the recording was interrupted."""
    streams = Streams()
    streams.open()
    streams.segment(ACK, 101, b"x")
    ends = (CLIENT, SERVER) if from_client else (SERVER, CLIENT)
    assert streams.segment(SYN, 9_000, from_client=from_client) == [
        Forgotten(1, 4),
        Opened(2, *ends, 4),
    ]
    assert len(streams.open_ends) == 1
    assert streams.segment(ACK, 9_001, b"y", from_client=from_client) == [Data(2, True, b"y", 5)]


def test_an_annotated_start_is_one_whatever_the_flags():
    """A part of a recording opens its connections again, with an answer if there was one."""
    streams = Streams()
    streams.open()
    assert streams.segment(SYN | ACK, 700, from_client=False, begins=True) == [
        Forgotten(1, 3),
        Opened(2, CLIENT, SERVER, 3),
    ]
    assert streams.segment(ACK, 701, b"x", from_client=False) == [Data(2, False, b"x", 4)]
    assert streams.segment(ACK, 800, b"y", begins=True) == [Data(2, True, b"y", 5)]


def test_connections_are_told_apart_by_both_ends():
    """And numbered in order."""
    streams = Streams()
    for number in range(3):
        client = Endpoint("10.0.0.1", 6000 + number)
        assert streams.segment(SYN, 1, client=client)[0].connection == number + 1
    assert streams.segment(ACK, 2, b"x", client=Endpoint("10.0.0.1", 6001)) == [
        Data(2, True, b"x", 4)
    ]
    for source, target, known in (
        (CLIENT, SERVER, False),
        (Endpoint("10.0.0.1", 6000), SERVER, True),
        (SERVER, Endpoint("10.0.0.1", 6002), True),
        (Endpoint("10.0.0.1", 6000), CLIENT, False),
    ):
        assert streams.streams.has(Segment(source, target, 1, 1, ACK, b"")) is known


def test_connections_that_are_open_are_bounded(monkeypatch):
    """The half that has been silent longest is forgotten."""
    monkeypatch.setattr(ordered, "MAX_OPEN", 4)
    streams = Streams()
    clients = [Endpoint("10.0.0.1", 6000 + number) for number in range(5)]
    for client in clients[:4]:
        assert len(streams.segment(SYN, 1, client=client)) == 1
    streams.segment(ACK, 2, client=clients[0])
    assert streams.segment(SYN, 1, client=clients[4]) == [
        Forgotten(2, 6),
        Forgotten(3, 6),
        Opened(5, clients[4], SERVER, 6),
    ]
    assert set(streams.open_ends) == {clients[0], clients[3], clients[4]}


def test_the_end_of_a_capture_closes_nothing():
    """Nobody has; but nothing is kept."""
    streams = Streams()
    streams.open()
    assert streams.streams.tick(10**18) == []
    assert streams.streams.finish() == []
    assert streams.open_ends == []
    assert not streams.streams.has(Segment(CLIENT, SERVER, 1, 1, ACK, b""))
