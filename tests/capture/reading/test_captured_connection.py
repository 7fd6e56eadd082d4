"""What is held of a connection before its network is known."""

import pytest

from lbcproxy import networks
from lbcproxy.capture.reading.captured_connection import (
    MAX_UNDECIDED,
    MAX_UNDECIDED_IN_MIDDLE,
    CapturedConnection,
    SharedState,
)
from lbcproxy.capture.tcp.stream_events import Closed, Opened
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import UNKNOWN_SIZE, Direction, Session
from lbcproxy.wire.envelope import frame

UP, DOWN = Direction
REGTEST = networks.get("lbry-regtest")
PING = frame(REGTEST.magic, "ping", bytes(8))


def connection(budget, *, begun=True, network=None, received=None):
    """A connection of others' traffic."""
    opened = Opened(1, Endpoint("10.0.0.1", 50000), Endpoint("10.0.0.2", 9246), 5, begun)
    made = lambda network: Session(1, network, stream_above=None, at_stream_start=begun)  # noqa: E731
    return CapturedConnection(
        opened, made, network=network, received=received, upstream=None, shared=budget
    )


def entries_of(deliveries):
    """Passages, message by message."""
    return [entry for delivery in deliveries for entry in delivery.entries]


@pytest.mark.parametrize(
    ("begun", "most"), [(True, MAX_UNDECIDED), (False, MAX_UNDECIDED_IN_MIDDLE)]
)
def test_only_so_much_is_held(begun, most):
    """Then it is given up, and nothing more of it is kept."""
    budget = SharedState(undecided_budget=most * 2)
    one = connection(budget, begun=begun)
    assert list(one.data(UP, bytes(most), 6)) == []
    assert budget.undecided_budget == most
    assert list(one.data(DOWN, b"x", 7)) == []
    assert budget.undecided_budget == most * 2
    assert list(one.data(UP, PING, 8)) == []
    assert (budget.undecided_budget, one.is_undecided) == (most * 2, True)


def test_all_together_hold_only_so_much():
    """Thousands of downloads may have been under way."""
    budget = SharedState(undecided_budget=10_000)
    many = [connection(budget, begun=False) for _ in range(4)]
    for each in many:
        list(each.data(UP, bytes(3_000), 6))
    assert 0 <= budget.undecided_budget <= 10_000 - 9_000 + 3_000
    [_, entry] = entries_of(many[0].data(UP, PING, 7))
    assert entry.raw == PING
    assert list(many[3].data(UP, PING, 7)) == []


def test_buffered_events_are_released_at_the_end():
    """Connections come and go for months."""
    budget = SharedState(undecided_budget=10_000)
    one = connection(budget)
    list(one.data(UP, b"SSH-2.0", 6))
    for direction in Direction:
        assert list(one.end(direction, 7, None)) == []
    assert budget.undecided_budget == 10_000


def test_a_magic_across_two_pieces_is_found():
    """Segments end anywhere."""
    for place in range(1, len(PING)):
        one = connection(SharedState())
        deliveries = [*one.data(UP, PING[:place], 6), *one.data(UP, PING[place:], 7)]
        entries = entries_of(deliveries)
        assert [entry.raw for entry in entries] == [PING]


def test_buffered_events_are_read_in_order():
    """Both directions, and the gap between."""
    one = connection(SharedState(), begun=False)
    assert list(one.data(DOWN, b"rest of", 6)) == []
    assert list(one.gap(DOWN, 10, 7)) == []
    assert list(one.data(DOWN, b"another", 8)) == []
    entries = entries_of(one.data(UP, PING, 9))
    assert [(entry.direction, entry.raw, entry.missing, entry.time_ns) for entry in entries] == [
        (DOWN, b"rest of", 0, 7),
        (DOWN, b"", 10, 7),
        (UP, PING, 0, 9),
    ]


def test_bytes_of_messages_that_are_not_complete_are_counted():
    """Of what was received, and of what was sent on this leg."""
    one = connection(SharedState(), network=REGTEST, received=DOWN)
    assert (one.buffered_bytes, one.is_undecided, one.has_bytes) == (0, False, False)
    list(one.data(DOWN, PING[:20], 6))
    received = one.buffered_bytes
    assert received >= 20
    assert one.has_bytes
    assert one.sent(UP, PING[:25], 7, complete=False) is None
    both = one.buffered_bytes
    assert both >= received + 25 + 25  # what was sent is decoded too
    one.forget_outgoing()
    assert one.buffered_bytes == both - 25
    assert one.sent(UP, PING[25:], 8, complete=True) == PING[25:]
    assert one.buffered_bytes == received


def test_a_message_that_was_sent_is_whole_when_the_packet_says_so(monkeypatch):
    """Or when it is longer than any."""
    monkeypatch.setattr("lbcproxy.capture.reading.captured_connection.MAX_OUTGOING", 100)
    one = connection(SharedState(), network=REGTEST, received=DOWN)
    assert one.sent(UP, bytes(60), 7, complete=False) is None
    assert one.sent(UP, bytes(40), 7, complete=False) is None
    assert one.sent(UP, bytes(1), 7, complete=False) == bytes(101)
    assert one.sent(UP, b"ab", 7, complete=True) == b"ab"


def test_only_the_other_direction_is_sent_on_a_leg():
    """A connection that is not a leg has none."""
    one = connection(SharedState(), received=DOWN)
    assert (one.is_outgoing(UP), one.is_outgoing(DOWN)) == (True, False)
    one = connection(SharedState())
    assert (one.is_outgoing(UP), one.is_outgoing(DOWN)) == (False, False)


@pytest.mark.parametrize("size", [99, 100, 101, 250])
def test_comments_that_wait_are_bounded(size):
    """How many were discarded is returned; each is given out once."""
    one = connection(SharedState())
    assert one.add_comments(UP, [1] * 50) == 0
    assert one.add_comments(UP, ["x"] * (size - 50)) == max(0, size - 100)
    assert one.waiting_comments == min(size, 100)
    assert one.add_comments(DOWN, ["y"]) == 0
    assert one.waiting_comments == min(size, 100) + 1
    assert one.take_comments(DOWN) == ("y",)
    assert one.take_comments(DOWN) == ()
    assert one.take_comments(UP) == ("1",) * 50 + ("x",) * (min(size, 100) - 50)
    assert one.waiting_comments == 0


def test_what_came_before_is_counted_with_what_is_missing():
    """A part of a capture continues from there; a gap of unknown size counts nothing."""
    one = connection(SharedState(), network=REGTEST)
    list(one.data(UP, PING[:20], 6))
    list(one.gap(UP, 7, 7))
    list(one.gap(UP, UNKNOWN_SIZE, 8))
    list(one.data(DOWN, PING, 9))
    assert one.offsets == {UP: 27, DOWN: 32}


def test_after_a_gap_the_magic_may_come_later():
    """As in a connection whose start is missing: the rest of a block may come first."""
    one = connection(SharedState())
    assert list(one.data(UP, PING[:3], 6)) == []
    assert list(one.gap(UP, 5, 7)) == []
    assert list(one.data(UP, PING[3:] + bytes(MAX_UNDECIDED), 8)) == []
    *_, entry = entries_of(one.data(UP, PING, 9))
    assert entry.raw == PING


@pytest.mark.parametrize(
    ("upstream", "found"),
    [
        (None, Endpoint("10.0.0.2", 9246)),
        ("10.0.0.3:9247", Endpoint("10.0.0.3", 9247)),
        ("nonsense", Endpoint("10.0.0.2", 9246)),
    ],
)
def test_the_upstream_of_a_session(upstream, found):
    """Our own files name it; otherwise it is what the client connected to."""
    one = connection(SharedState())
    one.upstream = upstream
    info = one.session_info(7, None)
    assert (info.number, info.network, info.upstream) == (7, "", found)
    assert (info.client, info.listen) == (one.opened.client, one.opened.server)
    assert one.session_info(7, REGTEST).network == "lbry-regtest"


def test_a_session_is_made_once():
    """Whatever comes later."""
    made = []

    def make(network):
        made.append(network)
        return Session(1, network, stream_above=None)

    opened = Opened(1, Endpoint("10.0.0.1", 50000), Endpoint("10.0.0.2", 9246), 5, True)
    one = CapturedConnection(
        opened, make, network=None, received=None, upstream=None, shared=SharedState()
    )
    assert one.is_undecided
    for _ in range(3):
        assert [entry.raw for entry in entries_of(one.data(UP, PING, 6))] == [PING]
    assert made == [REGTEST]
    assert not one.is_undecided


def test_a_message_is_injected_where_a_session_is_known():
    """Nothing can be said of it otherwise."""
    one = connection(SharedState())
    assert list(one.injected(UP, PING, 6)) == []
    assert list(one.flush(UP, 6)) == []
    list(one.data(UP, PING, 6))
    [delivery] = one.injected(UP, PING, 7)
    assert (delivery.raw, delivery.sent, delivery.entries[0].verdict) == (b"", PING, "inject")
    list(one.data(UP, PING[:5], 8))
    [delivery] = one.flush(UP, 9)
    assert delivery.raw == PING[:5]


def test_one_direction_may_end_before_the_network_is_known():
    """What the other one sends afterwards tells it, and all is read."""
    one = connection(SharedState())
    assert list(one.data(UP, PING[:3], 6)) == []
    assert list(one.end(UP, 7, Closed(1, True, False, 7))) == []
    assert not one.has_ended
    found = entries_of(one.data(DOWN, PING, 8))
    assert [entry.raw for entry in found if entry.direction is DOWN] == [PING]
    assert sum(len(entry.raw) for entry in found if entry.direction is UP) in (0, 3)
    list(one.end(DOWN, 9, None))
    assert one.has_ended


@pytest.mark.parametrize(("size", "given_up"), [(100, False), (101, True)])
def test_all_of_what_may_be_held_is_used(size, given_up):
    """Not a byte less."""
    budget = SharedState(undecided_budget=100)
    one = connection(budget, begun=False)
    assert list(one.data(UP, bytes(size), 6)) == []
    assert budget.undecided_budget == (100 if given_up else 0)
    assert bool(list(one.data(UP, PING, 7))) is not given_up
    assert budget.undecided_budget == 100
