"""Connections one after another on the same ports: whose a segment is."""

import pytest

from lbcproxy.capture.dropped import DropReason
from lbcproxy.capture.packet import ACK, FIN, RST, SYN, Segment
from lbcproxy.capture.tcp.identity import _MAX_EARLIER
from lbcproxy.capture.tcp.reassembler import Reassembler
from lbcproxy.capture.tcp.stream_events import Closed, Data, Opened
from lbcproxy.endpoint import Endpoint
from tests.session.frames import version

CLIENT, SERVER = Endpoint("10.0.0.1", 40_000), Endpoint("10.0.0.2", 9246)
FAR = 150_000_000
"""How far apart the numbers of two connections are."""


class Ports:
    """Connections on the same ports; `start` is the client's number of the current one."""

    def __init__(self):
        self.reassembler = Reassembler()
        self.start = 100
        self.count = 0

    def up(self, offset, data=b"", flags=ACK, *, start=None, ack=None):
        """Read a segment of the client."""
        start = self.start if start is None else start
        ack = start + 1_001 if ack is None else ack
        segment = Segment(CLIENT, SERVER, start + offset, ack, flags, data)
        return self.reassembler.feed(5, segment)

    def down(self, offset, data=b"", flags=ACK, *, start=None, ack=None):
        """Read a segment of the server, whose numbers are 1,000 higher."""
        start = self.start if start is None else start
        ack = start + 1 if ack is None else ack
        segment = Segment(SERVER, CLIENT, start + 1_000 + offset, ack, flags, data)
        return self.reassembler.feed(5, segment)

    def open(self, start=None):
        """Begin a connection with other numbers."""
        self.start = self.start + FAR if start is None else start
        self.count += 1
        found = self.up(0, flags=SYN, ack=0)
        found += self.down(0, flags=SYN | ACK)
        found += self.up(1)
        assert Opened(self.count, CLIENT, SERVER, 5) in found
        return found

    def end(self):
        """End it from both sides, after three bytes of the client."""
        self.up(1, b"abc")
        self.up(4, flags=FIN | ACK)
        self.down(1, flags=FIN | ACK, ack=self.start + 5)
        self.up(5, ack=self.start + 1_002)

    def reset(self):
        """Reset it, after three bytes of the client."""
        self.up(1, b"abc")
        self.down(1, flags=RST | ACK, ack=self.start + 4)

    @property
    def current(self):
        """The connection that the ports belong to."""
        return self.reassembler._connections[CLIENT, SERVER]

    @property
    def dropped(self):
        """What was not passed on: packets and bytes by reason."""
        return {
            each["reason"]: (each["packets"], each["bytes"])
            for each in self.reassembler.dropped.to_list()
        }


def test_bytes_in_flight_at_a_reset_are_of_the_connection_before():
    """Though nobody has seen them before, and the next one has no bytes yet."""
    for how in ("reset", "end"):
        ports = Ports()
        ports.open(100)
        getattr(ports, how)()
        ports.open()
        assert ports.up(4, b"late", start=100) == []
        assert ports.up(1, b"abc", start=100) == []  # this is a repetition
        assert ports.dropped == {DropReason.OLDER_CONNECTION: (2, 7)}, how
        assert ports.up(1, b"new") == [Data(2, True, b"new", 5)]


def test_a_version_begins_a_session_wherever_its_numbers_are():
    """No late segment is one that nobody has seen."""
    ports = Ports()
    ports.open(100)
    ports.reset()
    assert not ports.current.is_next(Segment(CLIENT, SERVER, 104, 1, ACK, b"late"))
    assert ports.current.is_next(Segment(CLIENT, SERVER, 104, 1, ACK, version()))
    assert not ports.current.is_next(Segment(CLIENT, SERVER, 101, 1, ACK, b"abc"))
    assert not ports.current.is_next(Segment(CLIENT, SERVER, 104, 1, ACK, b""))
    assert ports.dropped == {DropReason.AFTER_END: (1, 4)}


def test_only_the_last_connections_are_remembered():
    """A port may be used for years."""
    ports = Ports()
    ports.open(100)
    ports.end()
    for _ in range(2 * _MAX_EARLIER):
        ports.open()
        ports.end()
    assert len(list(ports.current.earlier())) == _MAX_EARLIER
    numbers = [each.number for each in ports.current.earlier()]
    assert numbers == list(range(ports.count - 1, ports.count - 1 - _MAX_EARLIER, -1))


def test_a_syn_is_of_the_connection_that_it_began():
    """Once that is over, or of one before it."""
    ports = Ports()
    ports.open(100)
    assert not ports.current.had_syn(CLIENT, 100)
    ports.end()
    assert ports.current.had_syn(CLIENT, 100)
    assert not ports.current.had_syn(CLIENT, 101)
    assert ports.current.had_syn(SERVER, 1_100)
    ports.open()
    assert ports.current.had_syn(CLIENT, 100)
    assert not ports.current.had_syn(CLIENT, ports.start)


@pytest.mark.parametrize(
    ("segments", "established", "unanswered"),
    [
        (["syn"], False, True),
        (["syn", "answer"], False, False),
        (["syn", "answer", "ack"], True, False),
        (["syn", "data"], True, False),
        (["syn", "server data"], True, False),
        (["answer"], False, False),
        (["data"], True, False),
        (["syn", "refusal"], False, False),
    ],
)
def test_whether_both_sides_have_accepted_a_connection(segments, established, unanswered):
    """Or one of them has sent bytes."""
    ports = Ports()
    for each in segments:
        match each:
            case "syn":
                ports.up(0, flags=SYN, ack=0)
            case "answer":
                ports.down(0, flags=SYN | ACK)
            case "ack":
                ports.up(1)
            case "data":
                ports.up(1, b"x")
            case "server data":
                ports.down(1, b"x")
            case _:
                ports.down(0, flags=RST | ACK)
    assert ports.current.is_established is established
    assert ports.current.is_unanswered is unanswered


@pytest.mark.parametrize("how", ["reset", "end"])
def test_new_bytes_may_be_in_flight_when_a_connection_ends(how):
    """After a reset as far as the window goes; after a FIN nothing is."""
    ports = Ports()
    ports.open(100)
    getattr(ports, how)()
    limit = ports.current.halves[0].limit
    is_reset = how == "reset"

    def is_in_flight(offset):
        """Whether bytes at an offset of the client's stream may be."""
        return ports.current.is_in_flight(Segment(CLIENT, SERVER, 101 + offset, 1, ACK, b"x"))

    assert not is_in_flight(-1)
    assert is_in_flight(0)
    assert is_in_flight(3)
    assert is_in_flight(4) is is_reset
    assert is_in_flight(limit) is is_reset
    assert not is_in_flight(limit + 1)


def test_a_syn_that_was_captured_after_its_bytes_is_theirs():
    """Or an answer that opened the connection tells the client's number."""
    ports = Ports()
    ports.up(1, b"abc")
    ports.up(0, flags=SYN, ack=0)
    assert ports.current.halves[0].syn == 100
    assert ports.dropped == {}
    ports = Ports()
    ports.down(0, flags=SYN | ACK)
    client, server = ports.current.halves
    assert (client.syn, client.first, server.syn, server.first) == (100, 101, 1_100, 1_101)


def syn_ack(start, window=0xFFFF, scale=None):
    """Return an answer to a SYN that was not captured."""
    flags = SYN | ACK
    return Segment(SERVER, CLIENT, start + 1_000, start + 1, flags, b"", window, scale)


def test_an_answer_to_an_unknown_syn_may_be_a_stray():
    """Each is counted, when it is known that it is one."""
    ports = Ports()
    ports.open(100)
    assert ports.reassembler.feed(5, syn_ack(40_000_000)) == []
    assert ports.dropped == {}
    assert ports.reassembler.feed(5, syn_ack(50_000_000)) == []
    assert ports.dropped == {DropReason.IGNORED_SYN: (1, 0)}
    assert ports.up(1, b"abc") == [Data(1, True, b"abc", 5)]
    assert ports.dropped == {DropReason.IGNORED_SYN: (2, 0)}


def test_an_answer_to_an_unknown_syn_may_begin_the_next_connection():
    """If its client goes on there; its window and scale count."""
    ports = Ports()
    ports.open(100)
    ports.reassembler.feed(5, syn_ack(40_000_000, 1_000, 3))
    found = ports.up(1, b"abc", start=40_000_000)
    assert found[-2:] == [Opened(2, CLIENT, SERVER, 5), Data(2, True, b"abc", 5)]
    client, server = ports.current.halves
    assert (client.edge, server.scale, server.syn) == (1_000, 3, 40_001_000)
    assert ports.dropped == {}


def test_bytes_before_the_answer_to_a_syn_are_not_of_its_connection():
    """They are late ones of the connection before, or nobody's."""
    ports = Ports()
    ports.open(100)
    ports.down(1, b"xyz")
    ports.up(1, flags=RST)
    ports.start += FAR
    assert ports.up(0, flags=SYN, ack=0) == [Opened(2, CLIENT, SERVER, 5)]
    assert ports.down(1, b"xyz", start=100) == []
    assert ports.down(0, b"junk", start=10_000_000) == []
    assert ports.down(0, flags=RST, start=10_000_000) == []
    assert ports.dropped == {
        DropReason.OLDER_CONNECTION: (1, 3),
        DropReason.OUTSIDE_WINDOW: (1, 4),
        DropReason.IGNORED_RESET: (1, 0),
    }
    assert ports.down(0, flags=SYN | ACK) == []
    assert ports.down(1, b"abc") == [Data(2, False, b"abc", 5)]


def test_a_syn_is_answered_once():
    """An answer by another number is a stray, whatever comes of it."""
    ports = Ports()
    ports.open(100)
    assert ports.reassembler.feed(5, Segment(SERVER, CLIENT, 777, 101, SYN | ACK, b"")) == []
    assert ports.dropped == {DropReason.IGNORED_SYN: (1, 0)}
    assert ports.current.pending is None


@pytest.mark.parametrize(("acknowledged", "closed"), [(40_000_001, [1, 2]), (104, [1])])
def test_a_refusal_is_of_the_connection_that_it_acknowledges(acknowledged, closed):
    """Whatever its own number: a node that was restarted takes that of the old connection."""
    ports = Ports()
    ports.open(100)
    ports.up(1, b"abc")
    assert ports.up(0, flags=SYN, start=40_000_000, ack=0) == []
    found = ports.down(1, flags=RST | ACK, ack=acknowledged)
    assert [each.connection for each in found if isinstance(each, Closed) and each.reset] == closed
    assert (Opened(2, CLIENT, SERVER, 5) in found) is (closed == [1, 2])
