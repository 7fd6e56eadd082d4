"""Tests of deadlines by name, some of which stand still while we do not read."""

from hypothesis import given
from hypothesis import strategies as st

from lbcproxy.peer.timers import Timers


def timers() -> Timers:
    """Two deadlines, of which `idle` stands still while we are away."""
    timers = Timers(frozenset({"idle"}))
    timers.set("idle", 5)
    timers.set("ping", 7)
    return timers


def test_the_first_is_next():
    """Whoever asks is woken for it."""
    assert timers().next == 5
    assert Timers(frozenset()).next is None


def test_what_is_due_comes_in_order():
    """The earliest first; nothing before its time."""
    assert timers().due(4.9) == []
    assert timers().due(5) == ["idle"]
    assert timers().due(100) == ["idle", "ping"]


def test_setting_again_takes_the_place():
    """There is one deadline of a name."""
    some = timers()
    some.set("idle", 9)
    assert some.next == 7
    assert some.due(100) == ["ping", "idle"]


def test_what_is_cancelled_is_never_due():
    """Cancelling what is not set is no mistake."""
    some = timers()
    some.cancel("idle")
    some.cancel("idle")
    assert some.due(100) == ["ping"]
    some.clear()
    assert some.next is None


def test_what_waits_for_the_node_stands_still_while_we_are_away():
    """The rest runs."""
    some = timers()
    some.leave("callback", 1)
    assert some.next == 7
    assert some.due(100) == ["ping"]
    assert some.back("callback", 4) == 3
    assert some.due(100) == ["idle", "ping"]


def test_only_the_last_reason_ends_it():
    """And tells how long it was since the first."""
    some = timers()
    some.leave("a", 1)
    some.leave("b", 2)
    some.leave("a", 3)
    assert some.back("a", 4) is None
    assert some.due(100) == ["ping"]
    assert some.back("never", 5) is None
    assert some.back("b", 6) == 5
    assert some.back("b", 7) is None
    some.leave("a", 8)
    assert some.back("a", 10) == 2


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"))))
def test_time_away_adds_up(steps: list[tuple[bool, str]]):
    """Whatever the order of reasons, each second away is counted once."""
    some, reasons = Timers(frozenset()), set[str]()
    counted = away = 0.0
    for now, (leave, why) in enumerate(steps):
        away += bool(reasons)
        if leave:
            some.leave(why, now)
            reasons.add(why)
        else:
            counted += some.back(why, now) or 0
            reasons.discard(why)
        if not reasons:
            assert counted == away
