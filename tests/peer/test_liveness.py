"""Tests of deadlines by name, and of calls that notice when the process was stopped."""

import secrets

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from lbcproxy.peer import Timeouts
from lbcproxy.peer.liveness import AnswerDeadlines, Keepalive, Liveness, Timers, Wakeup
from lbcproxy.wire.messages.handshake import VerAck
from lbcproxy.wire.messages.keepalive import Ping, Pong
from tests.peer.builders import CONFIG, connect, encoded, version


def timers() -> Timers:
    """Two deadlines, of which `idle` stands still while we do not read."""
    timers = Timers(frozenset({"idle"}))
    timers.set("idle", 5)
    timers.set("ping", 7)
    return timers


def test_the_first_is_next():
    """That is when the peer is called next."""
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
    """Cancelling what is not set does nothing."""
    some = timers()
    some.cancel("idle")
    some.cancel("idle")
    assert some.due(100) == ["ping"]
    some.clear()
    assert some.next is None


def test_deadlines_of_the_node_stand_still_while_we_do_not_read():
    """The rest runs."""
    some = timers()
    some.pause("callback", 1)
    assert some.next == 7
    assert some.due(100) == ["ping"]
    assert some.resume("callback", 4) == 3
    assert some.due(100) == ["idle", "ping"]


def test_only_the_last_reason_ends_it():
    """It returns how long it was since the first."""
    some = timers()
    some.pause("a", 1)
    some.pause("b", 2)
    some.pause("a", 3)
    assert some.resume("a", 4) is None
    assert some.due(100) == ["ping"]
    assert some.resume("never", 5) is None
    assert some.resume("b", 6) == 5
    assert some.resume("b", 7) is None
    some.pause("a", 8)
    assert some.resume("a", 10) == 2


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"))))
def test_time_without_reading_adds_up(steps: list[tuple[bool, str]]):
    """Whatever the order of reasons, each second away is counted once."""
    some, reasons = Timers(frozenset()), set[str]()
    counted = away = 0.0
    for now, (pause, reason) in enumerate(steps):
        away += bool(reasons)
        if pause:
            some.pause(reason, now)
            reasons.add(reason)
        else:
            counted += some.resume(reason, now) or 0
            reasons.discard(reason)
        if not reasons:
            assert counted == away


# Wake-ups.


class Desk:
    """A clock, when something came, and what was called."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.heard = 0.0
        self.calls: list[tuple[float, bool]] = []

    def wakeup(self, at: float) -> Wakeup:
        """Be called at a time."""
        return Wakeup(
            self.clock,
            at,
            lambda: self.heard,
            lambda came: self.calls.append((self.clock.seconds(), came)),
        )

    def arrive(self) -> None:
        """Have something come in."""
        self.heard = self.clock.seconds()


def test_a_call_in_time_is_made_after_what_is_read_in_its_turn():
    """What came up to the time counts as in time."""
    desk = Desk()
    wakeup = desk.wakeup(3)
    desk.clock.callLater(3, desk.arrive)
    desk.clock.pump([3])
    assert desk.calls == [(3, False)]
    assert not wakeup.active


@pytest.mark.parametrize("at", [None, 2.9, 3.1])
def test_a_late_call_waits_for_what_was_sent_before_it(at):
    """The reactor may call first and read then, or have read in the turn before."""
    desk = Desk()
    wakeup = desk.wakeup(3)
    if at is not None:
        desk.clock.callLater(at, desk.arrive)
    desk.clock.advance(10)
    assert desk.calls == [(10, at is not None)]
    assert not wakeup.active


def test_it_can_be_cancelled_at_any_time():
    """Between the two looks too."""
    desk = Desk()
    wakeup = desk.wakeup(3)
    desk.clock.callLater(3, wakeup.cancel)
    desk.clock.advance(10)
    assert desk.calls == []
    assert desk.clock.getDelayedCalls() == []
    wakeup.cancel()


def test_a_handshake_whose_bytes_were_waiting_gets_more_time():
    """Our process was stopped for a minute; the node had sent everything before."""
    wired = connect()
    wired.clock.callLater(30, wired.feed, encoded(version()))
    wired.clock.advance(60)
    assert not wired.closed
    wired.feed(VerAck())
    assert wired.peer.is_ready


def test_a_silent_node_gains_nothing_by_it():
    """No bytes were waiting."""
    wired = connect()
    wired.clock.advance(60)
    assert wired.closed


# Pings and answers.


@pytest.mark.parametrize(("drawn", "nonce"), [(0, 1), (2**64 - 2, 2**64 - 1)])
def test_the_nonce_of_a_ping_is_anything_but_zero(
    monkeypatch: pytest.MonkeyPatch, drawn: int, nonce: int
):
    """Zero means that no ping waits for its pong."""
    limits: list[int] = []

    def draw(below: int) -> int:
        limits.append(below)
        return drawn

    monkeypatch.setattr(secrets, "randbelow", draw)
    assert Keepalive().make(60001) == Ping(nonce)
    assert limits == [2**64 - 1]
    assert Keepalive().make(60000) == Ping(None)


def test_only_the_pong_of_the_last_ping_is_timed():
    """Another is ignored, and so is a second one."""
    keepalive = Keepalive()
    assert (keepalive.nonce, keepalive.at, keepalive.seconds) == (0, None, None)
    keepalive.received(Pong(0), 1)
    assert keepalive.seconds is None
    for record in (Pong(5), Ping(None), VerAck()):
        keepalive.sent(record, 1, 1001)
    assert keepalive.at is None
    keepalive.sent(Ping(5), 2, 1002)
    assert (keepalive.nonce, keepalive.at) == (5, 1002)
    keepalive.received(Pong(6), 3)
    assert keepalive.seconds is None
    keepalive.received(Pong(5), 4)
    assert (keepalive.nonce, keepalive.seconds) == (0, 2)
    keepalive.received(Pong(5), 9)
    assert keepalive.seconds == 2


def test_an_answer_is_due_by_its_request():
    """`getheaders` has more time; any one of a group is enough; asking again extends it."""
    answers = AnswerDeadlines(Timeouts())
    answers.sent("getheaders", 0)
    answers.sent("getdata", 0)
    answers.sent("ping", 0)
    assert answers.overdue(29.9) == []
    answers.received("tx")
    assert answers.overdue(30) == []
    answers.sent("mempool", 0)
    answers.sent("getblocks", 10)
    assert answers.overdue(39.9) == []
    assert answers.overdue(40) == ["inv"]
    assert answers.overdue(40) == []
    assert answers.overdue(89.9) == []
    answers.sent("version", 60)
    assert answers.overdue(90) == ["headers", "verack"]
    answers.sent("getdata", 0)
    assert answers.overdue(30) == ["block", "merkleblock", "notfound", "tx"]


def test_time_in_which_we_did_not_read_extends_what_is_due():
    """Of what was requested in it only the part that followed."""
    answers = AnswerDeadlines(Timeouts())
    answers.sent("getheaders", 0)
    answers.sent("mempool", 8)
    answers.extend(5, 10)
    assert answers.overdue(39.9) == []
    assert answers.overdue(40) == ["inv"]
    assert answers.overdue(94.9) == []
    assert answers.overdue(95) == ["headers"]


def test_the_deadlines_of_a_peer():
    """Those of the handshake, those of a ready peer, and none after the end."""
    liveness = Liveness(CONFIG)
    liveness.start_handshake(1)
    liveness.alive(5)
    liveness.sent(VerAck(), "version", 5, 0)
    assert liveness.timers.next == 31
    liveness.finish_handshake(10)
    expected = {"trickle": 20, "stall": 25, "ping": 130, "idle": 310}
    assert liveness.timers.due(1000) == list(expected)
    for name, deadline in expected.items():
        assert liveness.timers.next == deadline
        liveness.timers.cancel(name)
    assert liveness.answers.overdue(1000) == []
    liveness.sent(VerAck(), "getdata", 10, 0)
    liveness.alive(20)
    assert liveness.timers.next == 320
    liveness.pause("user", 30)
    assert liveness.timers.next is None
    liveness.resume("other", 40)
    assert liveness.timers.next is None
    liveness.resume("user", 50)
    assert liveness.timers.next == 350
    assert liveness.answers.overdue(59.9) == []
    assert liveness.answers.overdue(60) == ["block", "merkleblock", "notfound", "tx"]
    liveness.stop()
    liveness.alive(60)
    assert liveness.timers.next is None
    quiet = Liveness(msgspec.structs.replace(CONFIG, keepalive=False))
    quiet.finish_handshake(0)
    assert quiet.timers.due(1000) == ["trickle", "stall", "idle"]


def test_a_wakeup_in_the_past_is_called_at_once():
    """Clocks take no negative delays."""
    desk = Desk()
    desk.clock.advance(5)
    wakeup = desk.wakeup(3)
    assert (wakeup.at, wakeup.active) == (3, True)
    desk.clock.advance(0)
    assert desk.calls == [(5, False)]
    assert not wakeup.active
