"""A call that knows when the process stood still."""

import pytest
from twisted.internet.task import Clock

from lbcproxy.peer.wakeup import Wakeup
from lbcproxy.wire.messages.handshake import VerAck
from tests.peer.wires import connect, encoded, version


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


def test_a_call_in_time_is_made_behind_what_is_read_in_its_turn():
    """What came up to the time counts as in time."""
    desk = Desk()
    wakeup = desk.wakeup(3)
    desk.clock.callLater(3, desk.arrive)
    desk.clock.pump([3])
    assert desk.calls == [(3, False)]
    assert not wakeup.active


@pytest.mark.parametrize("at", [None, 2.9, 3.1])
def test_a_late_one_waits_for_what_was_sent_meanwhile(at):
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


def test_a_handshake_whose_bytes_lay_there_gets_its_time_anew():
    """Our process was stopped for a minute; the node had said all it has to say."""
    wired = connect()
    wired.clock.callLater(30, wired.feed, encoded(version()))
    wired.clock.advance(60)
    assert not wired.closed
    wired.feed(VerAck())
    assert wired.peer.is_ready


def test_a_silent_node_gains_nothing_by_it():
    """Nothing lay there."""
    wired = connect()
    wired.clock.advance(60)
    assert wired.closed
