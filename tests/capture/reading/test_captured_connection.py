"""What is held of a connection before its network is known."""

import pytest

from lbcproxy import networks
from lbcproxy.capture.reading.captured_connection import (
    MAX_UNDECIDED,
    MAX_UNDECIDED_IN_MIDDLE,
    BufferBudget,
    CapturedConnection,
)
from lbcproxy.capture.tcp.reassembler import Opened
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Direction, Session
from lbcproxy.wire.envelope import frame

UP, DOWN = Direction
REGTEST = networks.get("lbry-regtest")
PING = frame(REGTEST.magic, "ping", bytes(8))


def connection(budget, *, begun=True, network=None):
    """A connection of others' traffic."""
    opened = Opened(1, Endpoint("10.0.0.1", 50000), Endpoint("10.0.0.2", 9246), 5, begun)
    made = lambda network: Session(1, network, stream_above=None, at_stream_start=begun)  # noqa: E731
    return CapturedConnection(
        opened, made, network=network, received=None, upstream=None, budget=budget
    )


def entries_of(deliveries):
    """Passages, message by message."""
    return [entry for delivery in deliveries for entry in delivery.entries]


@pytest.mark.parametrize(
    ("begun", "most"), [(True, MAX_UNDECIDED), (False, MAX_UNDECIDED_IN_MIDDLE)]
)
def test_only_so_much_is_held(begun, most):
    """Then it is given up, and nothing more of it is kept."""
    budget = BufferBudget(most * 2)
    one = connection(budget, begun=begun)
    assert list(one.data(UP, bytes(most), 6)) == []
    assert budget.remaining == most
    assert list(one.data(DOWN, b"x", 7)) == []
    assert budget.remaining == most * 2
    assert list(one.data(UP, PING, 8)) == []
    assert (budget.remaining, one.is_undecided) == (most * 2, True)


def test_all_together_hold_only_so_much():
    """Thousands of downloads may have been under way."""
    budget = BufferBudget(10_000)
    many = [connection(budget, begun=False) for _ in range(4)]
    for each in many:
        list(each.data(UP, bytes(3_000), 6))
    assert 0 <= budget.remaining <= 10_000 - 9_000 + 3_000
    [_, entry] = entries_of(many[0].data(UP, PING, 7))
    assert entry.raw == PING
    assert list(many[3].data(UP, PING, 7)) == []


def test_what_was_held_is_released_at_the_end():
    """Connections come and go for months."""
    budget = BufferBudget(10_000)
    one = connection(budget)
    list(one.data(UP, b"SSH-2.0", 6))
    for direction in Direction:
        assert list(one.end(direction, 7, None)) == []
    assert budget.remaining == 10_000


def test_a_magic_across_two_pieces_is_found():
    """Segments end anywhere."""
    for place in range(1, len(PING)):
        one = connection(BufferBudget())
        deliveries = [*one.data(UP, PING[:place], 6), *one.data(UP, PING[place:], 7)]
        entries = entries_of(deliveries)
        assert [entry.raw for entry in entries] == [PING]


def test_what_was_held_is_read_in_its_order():
    """Both directions, and the gap between."""
    one = connection(BufferBudget(), begun=False)
    assert list(one.data(DOWN, b"rest of", 6)) == []
    assert list(one.gap(DOWN, 10, 7)) == []
    assert list(one.data(DOWN, b"another", 8)) == []
    entries = entries_of(one.data(UP, PING, 9))
    assert [(entry.direction, entry.raw, entry.missing, entry.time_ns) for entry in entries] == [
        (DOWN, b"rest of", 0, 7),
        (DOWN, b"", 10, 7),
        (UP, PING, 0, 9),
    ]
