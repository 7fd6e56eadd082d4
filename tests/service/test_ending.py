"""How a process ends: it does, whatever fails on the way."""

import signal

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from lbcproxy.service.process import Ending


class Reactor(Clock):
    """A clock that knows whether it was stopped."""

    running = True

    def callFromThread(self, call, *arguments):
        call(*arguments)

    def stop(self):
        self.running = False


def refuses(*_):
    raise SystemExit(3)


@pytest.mark.parametrize("stop", [refuses, lambda: fail(OSError()), lambda: succeed(None)])
def test_a_signal_ends_the_program_though_stopping_fails(stop):
    """Nothing a session or plugin does may keep the process."""
    reactor = Reactor()
    ending = Ending(stop, bool, reactor)
    ending._signalled(signal.SIGTERM, None)
    assert not reactor.running
    assert (ending.failure is None) == (stop is not refuses)


def test_the_second_signal_ends_the_program_though_the_sessions_cannot_be_broken_off():
    """The first waits for something that does not come."""
    reactor = Reactor()
    ending = Ending(Deferred, refuses, reactor)
    ending._signalled(signal.SIGTERM, None)
    assert reactor.running
    ending._signalled(signal.SIGTERM, None)
    reactor.advance(0)
    assert not reactor.running
