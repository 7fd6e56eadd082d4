"""The limit of what all sessions buffer together: which session is reduced, and how."""

import pytest

from lbcproxy.proxy.budget import Budget
from lbcproxy.wire.envelope import frame
from tests.proxy.transports import NETWORK, Scene

LONG = frame(NETWORK.magic, "block", bytes(60_000))


class Holding:
    """A session that holds as many bytes as a test sets, and releases all of them."""

    def __init__(self, number, budget, stubborn=False):
        self.number = number
        self.held = 0
        self.sheds = 0
        self._budget = budget
        self._stubborn = stubborn

    def hold(self, size):
        self.held = size
        self._budget.update(self)

    def reduce_memory(self):
        self.sheds += 1
        if not self._stubborn:
            self.held = 0


def test_below_the_limit_nothing_is_reduced():
    """It is counted, and forgotten with the session."""
    budget = Budget(100)
    sessions = [Holding(number, budget) for number in range(3)]
    for size in (10, 30, 20):
        for each in sessions:
            each.hold(size)
        assert budget.held == 3 * size
    budget.forget(sessions[0])
    budget.forget(sessions[0])
    assert budget.held == 40


def test_above_the_limit_the_largest_holder_is_reduced():
    """Not the one that came last."""
    budget = Budget(100)
    small, big, last = (Holding(number, budget) for number in range(3))
    small.hold(10)
    big.hold(70)
    last.hold(30)
    assert (small.sheds, big.sheds, last.sheds) == (0, 1, 0)
    assert budget.held == 40


def test_a_holder_that_cannot_reduce_is_no_longer_counted():
    """It ends; nothing loops for ever."""
    budget = Budget(100)
    stubborn, other = Holding(1, budget, stubborn=True), Holding(2, budget)
    stubborn.hold(101)
    assert (stubborn.sheds, budget.held) == (1, 0)
    other.hold(50)
    assert other.sheds == 0


def test_a_relay_reads_a_long_message_no_further():
    """Its bytes were forwarded long before; it is reported as unread."""
    scene = Scene(stream_above=None)
    scene.answer()
    scene.client.arrive(LONG[:40_000])
    scene.settle()
    assert 40_000 <= scene.relay.held <= 45_010  # a buffer that grows has an eighth to spare
    scene.relay.reduce_memory()
    assert scene.relay.held == 0
    scene.client.arrive(LONG[40_000:])
    scene.client.arrive(frame(NETWORK.magic, "ping", bytes(8)))
    scene.settle()
    assert scene.upstream.got == LONG + frame(NETWORK.magic, "ping", bytes(8))
    entries = [entry for each in scene.observer.deliveries for entry in each.entries]
    assert [(entry.command, entry.error) for entry in entries] == [("block", None), ("ping", None)]
    assert entries[0].message.length == 60_000
    assert entries[0].message.summary().endswith("(long, not read)")


def test_a_relay_whose_upstream_is_not_there_ends():
    """What waits for the upstream cannot be released and still be forwarded."""
    scene = Scene()
    scene.client.arrive(LONG)
    assert scene.relay.held > 0
    scene.relay.reduce_memory()
    assert scene.relay.held == 0
    scene.settle()
    assert scene.observer.whys == ["too much waits for the upstream, for all sessions together"]


@pytest.mark.parametrize("cut", [0, 10, 24, 25, 24 + 60_000])
def test_nothing_is_lost_wherever_memory_is_reduced(cut):
    """Also between messages, and in a header."""
    scene = Scene(stream_above=None)
    scene.answer()
    scene.client.arrive(LONG[:cut])
    scene.relay.reduce_memory()
    scene.client.arrive(LONG[cut:])
    scene.settle()
    assert scene.upstream.got == LONG
    assert b"".join(each.raw for each in scene.observer.deliveries) == LONG


def test_a_message_that_a_close_cuts_off_is_not_counted_any_longer():
    """The other node may keep the session open for long."""
    budget = Budget(1 << 20)
    scene = Scene(budget=budget, stream_above=None).answer()
    scene.client.arrive(LONG[:50_000])
    assert budget.held >= 50_000
    scene.client.finish()
    assert budget.held == scene.relay.held == 0
