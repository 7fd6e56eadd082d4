"""How a process ends: it does, whatever fails on the way."""

import signal

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from lbcproxy.service.process import STUCK_TIMEOUT, Shutdown


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
def test_a_signal_ends_the_program_even_if_stopping_fails(stop):
    """Nothing a session or plugin does may keep the process."""
    reactor = Reactor()
    ending = Shutdown(stop, bool, reactor)
    ending._signalled(signal.SIGTERM, None)
    assert not reactor.running
    assert (ending.failure is None) == (stop is not refuses)


def test_a_reactor_that_ignores_sigterm_is_killed(monkeypatch):
    """A plugin in an endless loop keeps it; what rings hold is saved first."""
    done, alarms, handlers = [], [], {}
    monkeypatch.setattr(signal, "alarm", alarms.append)
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    monkeypatch.setattr("os.kill", lambda _, number: done.append(number))

    class Deaf(Reactor):
        def callFromThread(self, call, *arguments):
            self.callLater(0, call, *arguments)

    reactor = Deaf()
    ending = Shutdown(
        lambda: succeed(None), bool, reactor, before_kill=lambda: done.append("saved")
    )
    ending._signalled(signal.SIGTERM, None)
    assert alarms == [STUCK_TIMEOUT]
    handlers[signal.SIGALRM](signal.SIGALRM, None)
    assert done == ["saved", signal.SIGTERM]
    assert handlers[signal.SIGTERM] is signal.SIG_DFL
    reactor.advance(0)
    assert alarms == [STUCK_TIMEOUT, 0]


def test_the_second_signal_ends_the_program_even_if_aborting_fails():
    """The first waits for something that does not come."""
    reactor = Reactor()
    ending = Shutdown(Deferred, refuses, reactor)
    ending._signalled(signal.SIGTERM, None)
    assert reactor.running
    ending._signalled(signal.SIGTERM, None)
    reactor.advance(0)
    assert not reactor.running
