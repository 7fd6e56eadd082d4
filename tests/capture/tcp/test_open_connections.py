"""How many connections are kept, and how much of each."""

import pytest

from lbcproxy.capture.packet import ACK, FIN, PSH, RST, SYN, Segment
from lbcproxy.capture.tcp import open_connections
from lbcproxy.capture.tcp.detached import SEGMENT_COST
from lbcproxy.capture.tcp.reassembler import Reassembler
from lbcproxy.capture.tcp.silent import Silence
from lbcproxy.capture.tcp.stream_events import Data, Forgotten, Gap, Opened
from lbcproxy.endpoint import Endpoint

SERVER = Endpoint("10.0.0.2", 9246)


def client(number):
    """Return one of many clients."""
    return Endpoint("10.0.0.1", 40_000 + number)


class Network:
    """Connections of several clients with one server, at times a nanosecond apart."""

    def __init__(self, **limits):
        self.reassembler = Reassembler(**limits)
        self.time = 0

    def up(self, number, flags, sequence, data=b"", ack=501):
        """Read a segment of a client; return what follows from it."""
        return self._feed(Segment(client(number), SERVER, sequence, ack, flags, data))

    def down(self, number, flags, sequence, data=b"", ack=101):
        """Read a segment of the server."""
        return self._feed(Segment(SERVER, client(number), sequence, ack, flags, data))

    def open(self, number):
        """Open a connection."""
        found = self.up(number, SYN, 100)
        found += self.down(number, SYN | ACK, 500)
        return found + self.up(number, ACK, 101)

    @property
    def open_clients(self):
        """The numbers of the clients whose connections are open."""
        ends = self.reassembler.open_ends()
        return sorted(min(each, key=str).port - 40_000 for each in ends)

    def _feed(self, segment):
        self.time += 1
        return self.reassembler.feed(self.time, segment)


def test_open_connections_are_bounded(monkeypatch):
    """The half that has been silent longest is forgotten, with what waits given up."""
    monkeypatch.setattr(open_connections, "_MAX_OPEN", 4)
    network = Network()
    for number in range(4):
        assert network.open(number) == [
            Opened(number + 1, client(number), SERVER, network.time - 2)
        ]
    network.up(1, ACK | PSH, 103, b"after a hole")
    waited = network.time
    for number in (0, 3):
        network.up(number, ACK | PSH, 101, b"x")
    assert network.open(4) == [
        Forgotten(3, network.time - 2),
        Gap(2, True, 2, waited),
        Data(2, True, b"after a hole", waited),
        Forgotten(2, network.time - 2),
        Opened(5, client(4), SERVER, network.time - 2),
    ]
    assert network.open_clients == [0, 3, 4]
    counts = network.reassembler.silent.to_list()
    assert [(each["outcome"], each["connections"]) for each in counts] == [(Silence.SILENT, 1)]


def test_a_forgotten_connection_that_goes_on_is_another_one(monkeypatch):
    """Its start is not known any more."""
    monkeypatch.setattr(open_connections, "_MAX_OPEN", 2)
    network = Network()
    for number in range(3):
        network.open(number)
    assert network.open_clients == [1, 2]
    found = network.up(0, ACK | PSH, 101, b"x")
    assert [type(each) for each in found] == [Forgotten, Opened, Data]
    assert found[1].begun is False


def test_connections_that_ended_are_remembered_for_a_while(monkeypatch):
    """Their late repetitions are not connections of their own."""
    monkeypatch.setattr(open_connections, "_MAX_REMEMBERED", 2)
    network = Network()
    for number in range(4):
        network.open(number)
        network.up(number, ACK | PSH, 101, b"abc")
        network.up(number, RST | ACK, 104)
    assert network.open_clients == []
    assert len(network.reassembler._remembered) == 2
    assert len(network.reassembler._connections) == 4
    for number, known in ((3, True), (2, True), (1, False), (0, False)):
        found = network.up(number, ACK | PSH, 101, b"abc")
        assert [type(each) for each in found] == ([] if known else [Opened, Data])


@pytest.mark.parametrize(("excess", "given_up"), [(0, []), (1, [3, 2])])
def test_what_waits_is_bounded(excess, given_up):
    """The connections with the most give up first, until it is half of the bound."""
    sizes = {1: 300, 2: 400, 3: 500}
    cost = sum(sizes.values()) + 3 * SEGMENT_COST
    network = Network(max_cost=cost - excess)
    for number in sizes:
        network.open(number)
    found = []
    for number, size in sizes.items():
        found += network.up(number, ACK | PSH, 103, bytes(size))
    assert [each.connection for each in found if isinstance(each, Gap)] == given_up
    assert network.reassembler._cost == (500 if given_up else cost)


def test_exactly_half_is_enough():
    """No connection gives up for nothing."""
    network = Network(max_cost=2 * (300 + SEGMENT_COST))
    for number, size in ((1, 300), (2, 301)):
        network.open(number)
        found = network.up(number, ACK | PSH, 103, bytes(size))
    assert [each.connection for each in found if isinstance(each, Gap)] == [2]
    assert network.reassembler._cost == 300 + SEGMENT_COST


def test_nothing_waits_once_its_hole_is_filled():
    """Nor is it counted."""
    network = Network()
    network.open(1)
    network.up(1, ACK | PSH, 103, bytes(300))
    assert network.reassembler._cost == 300 + SEGMENT_COST
    assert list(network.reassembler._waiting) == [1]
    network.up(1, ACK | PSH, 101, b"ab")
    assert (network.reassembler._cost, network.reassembler._waiting) == (0, {})
    for flags, sequence in ((FIN | ACK, 403),):
        network.up(1, flags, sequence)
    network.down(1, FIN | ACK, 501, ack=404)
    assert network.open_clients == []


@pytest.mark.parametrize(("count", "kept"), [(1, 100), (5, 100), (6, 83), (10, 50)])
def test_repetitions_are_compared_with_less_the_more_are_open(monkeypatch, count, kept):
    """With all connections together there is a bound."""
    monkeypatch.setattr(open_connections, "_MAX_KEPT", 1_000)
    monkeypatch.setattr(open_connections, "_MAX_KEPT_EACH", 100)
    network = Network()
    for number in range(count):
        network.open(number)
    network.reassembler._keep()
    assert network.reassembler._moment.keep == kept
    assert Reassembler()._moment.keep == 100
