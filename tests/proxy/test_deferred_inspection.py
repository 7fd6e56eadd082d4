"""Looking later: in order, bounded, and before anything else is told."""

from twisted.internet.task import Clock

from lbcproxy.proxy.deferred_inspection import LATER, MOST, DeferredInspection


def test_without_a_clock_nothing_waits():
    """As in tests, and where somebody has to decide first."""
    seen = []
    DeferredInspection().put(lambda: seen.append(1), 10)
    assert seen == [1]


def test_what_waits_is_looked_at_a_little_later_in_order():
    """One timer for all of it."""
    clock, seen = Clock(), []
    looks = DeferredInspection(clock)
    for number in range(5):
        looks.put(lambda number=number: seen.append(number), 10)
    assert not seen
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(LATER)
    assert seen == [0, 1, 2, 3, 4]
    looks.put(lambda: seen.append(5), 10)
    clock.advance(LATER)
    assert seen[-1] == 5


def test_what_waits_is_bounded():
    """A busy session is looked at as it goes."""
    clock, seen = Clock(), []
    looks = DeferredInspection(clock)
    looks.put(lambda: seen.append(0), MOST - 1)
    assert not seen
    looks.put(lambda: seen.append(1), 1)
    assert seen == [0, 1]


def test_catching_up_leaves_nothing_for_later():
    """Whoever tells of an end tells it behind all that came before."""
    clock, seen = Clock(), []
    looks = DeferredInspection(clock)
    looks.put(lambda: seen.append(0), 1)
    looks.catch_up()
    assert seen == [0]
    assert clock.getDelayedCalls() == []
    looks.put(lambda: seen.append(1), 1)
    clock.advance(LATER)
    assert seen == [0, 1]


def test_a_full_queue_leaves_no_timer():
    """What was looked at because it had become too much needs no timer any more."""
    clock, seen = Clock(), []
    looks = DeferredInspection(clock)
    looks.put(lambda: seen.append(0), 1)
    looks.put(lambda: seen.append(1), MOST)
    assert seen == [0, 1]
    assert clock.getDelayedCalls() == []
