"""Deferred inspection: in order, bounded, and before any other event."""

from twisted.internet.task import Clock

from lbcproxy.proxy.deferred_inspection import DELAY, MAX_PENDING, DeferredInspection


def test_without_a_clock_nothing_is_deferred():
    """As in tests."""
    seen = []
    DeferredInspection().add(lambda: seen.append(1), 10)
    assert seen == [1]


def test_pending_inspections_run_a_little_later_in_order():
    """One timer for all of it."""
    clock, seen = Clock(), []
    deferred = DeferredInspection(clock)
    for number in range(5):
        deferred.add(lambda number=number: seen.append(number), 10)
    assert not seen
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(DELAY)
    assert seen == [0, 1, 2, 3, 4]
    deferred.add(lambda: seen.append(5), 10)
    clock.advance(DELAY)
    assert seen[-1] == 5


def test_pending_inspections_are_bounded():
    """A busy session is inspected at once."""
    clock, seen = Clock(), []
    deferred = DeferredInspection(clock)
    deferred.add(lambda: seen.append(0), MAX_PENDING - 1)
    assert not seen
    deferred.add(lambda: seen.append(1), 1)
    assert seen == [0, 1]


def test_run_all_leaves_nothing_pending():
    """The end of a session is notified after everything that came before."""
    clock, seen = Clock(), []
    deferred = DeferredInspection(clock)
    deferred.add(lambda: seen.append(0), 1)
    deferred.run_all()
    assert seen == [0]
    assert clock.getDelayedCalls() == []
    deferred.add(lambda: seen.append(1), 1)
    clock.advance(DELAY)
    assert seen == [0, 1]


def test_a_full_queue_leaves_no_timer():
    """What was inspected because it was too much needs no timer."""
    clock, seen = Clock(), []
    deferred = DeferredInspection(clock)
    deferred.add(lambda: seen.append(0), 1)
    deferred.add(lambda: seen.append(1), MAX_PENDING)
    assert seen == [0, 1]
    assert clock.getDelayedCalls() == []
