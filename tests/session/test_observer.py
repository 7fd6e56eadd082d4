"""Observers of a session: what they are sent, and what the failure of one means to the others."""

import pytest

from lbcproxy.capture import tell
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Delivery, EventRouter, Lost, SessionInfo
from lbcproxy.session.events import (
    Delivered,
    NotRecorded,
    ObserverDropped,
    SessionEnded,
    SessionStarted,
    UpstreamConnected,
)
from lbcproxy.session.observer import SessionObservers
from tests.session.frames import UP, ping, session, session_ended


def info(number=1):
    end = Endpoint("10.0.0.1", 1)
    return SessionInfo(number=number, network="lbry-regtest", client=end, listen=end, upstream=end)


class Watcher:
    """Keeps its events; raises at those of some kinds."""

    def __init__(self, fails_at=(), wanted=True):
        self.events, self.sessions = [], []
        self.fails_at, self.wanted = fails_at, wanted

    def session_started(self, info):
        self.sessions.append(info.number)
        return self if self.wanted else None

    def handle(self, event):
        if isinstance(event, self.fails_at):
            raise RuntimeError("a defect in an observer")
        self.events.append(event)

    @property
    def kinds(self):
        return [type(each) for each in self.events]


def test_an_observer_that_failed_gets_only_what_it_missed_and_the_end():
    failing, other, failed = Watcher(Delivered), Watcher(), []
    observers = SessionObservers([failing, other], info(), failed.append)
    passed = Delivered(info(), UP, (Delivery(b"12345"),), 2)
    for event in (SessionStarted(info(), 1), passed, UpstreamConnected(info(), 3), passed):
        observers.handle(event)
    observers.end(session_ended(info(), 4))
    assert failed == [failing]
    missed = [Lost(size=5, why="a defect of lbcproxy")] * 2
    assert failing.kinds == [SessionStarted, NotRecorded, NotRecorded, ObserverDropped]
    assert [each.lost for each in failing.events[1:3]] == missed
    assert other.kinds == [SessionStarted, Delivered, UpstreamConnected, Delivered, SessionEnded]


def test_an_observer_that_fails_at_everything_raises_nothing():
    failing = Watcher(object)
    observers = SessionObservers([failing], info(), lambda _: None)
    observers.handle(SessionStarted(info(), 1))
    observers.handle(Delivered(info(), UP, (Delivery(b"1"),), 2))
    observers.end(session_ended(info(), 3))
    assert failing.events == []


def test_what_is_missing_for_all_is_sent_to_those_that_failed_too():
    failing, other = Watcher(SessionStarted), Watcher()
    observers = SessionObservers([failing, other], info(), lambda _: None)
    observers.handle(SessionStarted(info(), 1))
    lost = NotRecorded(info(), Lost(messages=2), 2)
    observers.handle(lost)
    assert failing.events == other.events[1:] == [lost]


def test_what_observes_a_session_is_what_the_observer_returned_for_it():
    """An observer with a state for each session makes an object for each."""

    class Making:
        def session_started(self, info):
            return failing

        def handle(self, event):
            raise AssertionError("it observes no session itself")

    failing, making, failed = Watcher(SessionStarted), Making(), []
    observers = SessionObservers([making], info(), failed.append)
    observers.handle(SessionStarted(info(), 1))
    observers.end(session_ended(info(), 2))
    assert failed == [making]
    assert failing.kinds == [ObserverDropped]


def test_an_observer_may_decline_a_session():
    observers = SessionObservers([Watcher(wanted=False)], info(), lambda _: None)
    assert not observers
    observers.handle(SessionStarted(info(), 1))


def test_an_observer_that_fails_at_once_has_no_part_in_the_session():
    """It cannot learn what it missed; the others are not harmed."""

    class Failing(Watcher):
        def session_started(self, info):
            raise RuntimeError("a defect in an observer")

    failing, other, failed = Failing(), Watcher(), []
    observers = SessionObservers([failing, other], info(), failed.append)
    observers.handle(SessionStarted(info(), 1))
    assert failed == [failing]
    assert other.kinds == [SessionStarted]
    assert not SessionObservers([failing], info(), failed.append)


def test_the_observers_of_a_session_count_while_one_wants_to_know_of_its_end():
    """A session that nobody observes makes no events."""
    observers = SessionObservers([Watcher(SessionStarted)], info(), lambda _: None)
    assert observers
    observers.handle(SessionStarted(info(), 1))
    assert observers


def test_what_was_missed_is_counted_in_messages_and_bytes():
    """Several deliveries of several messages; one of nothing is not a loss."""
    failing = Watcher(SessionStarted)
    observers = SessionObservers([failing], info(), lambda _: None)
    observers.handle(SessionStarted(info(), 1))
    deliveries = session().receive(UP, ping() * 3, 2) + session().receive(UP, ping(), 2)
    observers.handle(Delivered(info(), UP, deliveries, 2))
    observers.handle(Delivered(info(), UP, (), 3))
    [missed] = failing.events
    assert (missed.lost.messages, missed.lost.size, missed.time_ns) == (4, 4 * len(ping()), 2)


def test_a_router_passes_nothing_on_of_no_session():
    """What was lost of no session in particular is not for what observes one."""
    watcher = Watcher()
    router = EventRouter(watcher)
    router.handle(SessionStarted(info(), 1))
    router.handle(NotRecorded(None, Lost(packets=1), 2))
    assert watcher.kinds == [SessionStarted]


def test_a_router_forgets_a_session_whose_observer_was_dropped_or_declined():
    watcher, declining = Watcher(), Watcher(wanted=False)
    for router in (EventRouter(watcher), EventRouter(declining)):
        router.handle(SessionStarted(info(), 1))
        router.handle(ObserverDropped(info(), 2))
        router.handle(UpstreamConnected(info(), 3))
    assert watcher.kinds == [SessionStarted, ObserverDropped]
    assert declining.events == []


def test_a_router_keeps_sessions_apart_and_forgets_them_at_their_end():
    watcher = Watcher()
    router = EventRouter(watcher)
    router.handle(UpstreamConnected(info(7), 0))  # it has not started
    for number in (1, 2):
        router.handle(SessionStarted(info(number), number))
    router.handle(session_ended(info(1), 3))
    router.handle(UpstreamConnected(info(1), 4))
    router.handle(UpstreamConnected(info(2), 5))
    assert watcher.sessions == [1, 2]
    assert [each.time_ns for each in watcher.events] == [1, 2, 3, 5]


def test_tell_still_works_with_a_warning():
    watcher = Watcher()
    with pytest.warns(DeprecationWarning, match="EventRouter"):
        tell(SessionStarted(info(), 1), watcher)
    with pytest.warns(DeprecationWarning, match="EventRouter"):
        tell(UpstreamConnected(info(), 2), watcher)
    assert watcher.kinds == [SessionStarted, UpstreamConnected]
