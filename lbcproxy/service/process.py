"""The process as a whole: signals, open files, memory, the reactor."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from lbcproxy.reactor import Reactor

__all__ = ["Shutdown", "raise_open_files", "return_freed_memory", "run_reactor"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
STUCK_TIMEOUT = 30
"""Seconds that the reactor has to react to SIGTERM before the program is killed."""
LARGE_BUFFER = 128 << 10
FREE_MEMORY = 8 << 20
"""Bytes of free memory that the C library may keep."""


def raise_open_files() -> int:
    """Raise the soft limit of open files to the hard limit, and return the new limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # some systems refuse a hard limit that is infinite
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return hard


def return_freed_memory() -> None:
    """Make the C library return each large buffer to the system when it is freed.

    By default glibc stops doing that when the first one is freed. The gaps between the buffers of
    many sessions then take as much memory again as the buffers. glibc may keep some free memory,
    because requesting it again for each read costs more than the read. Other C libraries do not
    have these settings.
    """
    try:
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BUFFER)
        ctypes.CDLL(None).mallopt(M_TRIM_THRESHOLD, FREE_MEMORY)
    except (OSError, AttributeError):
        return


def run_reactor(
    main: Callable[[], Coroutine[Deferred[Any], Any, int]],
    stop: Callable[[], Deferred[Any]],
    abort: Callable[[], None],
    reactor: Reactor,
    hang_up: Callable[[], object] | None = None,
    before_kill: Callable[[], object] = bool,
) -> int:
    """Run the reactor until a coroutine is done or a signal comes.

    Args:
        main: The coroutine; it returns the exit code.
        stop: Called for the first SIGINT or SIGTERM, and waited for.
        abort: Called for the second one, and not waited for.
        reactor: The reactor.
        hang_up: Called for SIGHUP, if it is given.
        before_kill: Called for SIGABRT and SIGQUIT, which then kill the program as usual.

    Returns:
        The exit code: that of `main`, 130 after SIGINT, 0 after SIGTERM.
    """
    shutdown = Shutdown(stop, abort, reactor, hang_up, before_kill)

    def start() -> None:
        shutdown.install()
        running = Deferred.fromCoroutine(main())
        running.addCallbacks(shutdown.done, shutdown.failed)

    reactor.callWhenRunning(start)
    reactor.run(installSignalHandlers=True)
    if shutdown.failure is not None:
        shutdown.failure.raiseException()
    return shutdown.code


class Shutdown:
    """Stops the reactor when signals ask for it: in order at first, at once when they repeat.

    The arguments are those of `run_reactor`.
    """

    def __init__(
        self,
        stop: Callable[[], Deferred[Any]],
        abort: Callable[[], None],
        reactor: Reactor,
        hang_up: Callable[[], object] | None = None,
        before_kill: Callable[[], object] = bool,
    ) -> None:
        self._stop = stop
        self._abort = abort
        self._hang_up = hang_up
        self._before_kill = before_kill
        self._reactor = reactor
        self._signals = 0
        self._ended = False
        self.code = 0
        self.failure: Failure | None = None

    def install(self) -> None:
        """Handle the signals; Twisted's own handlers would stop the reactor with open sessions."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._signalled)
        if self._hang_up is not None:
            signal.signal(signal.SIGHUP, self._signalled)
        for number in (signal.SIGABRT, signal.SIGQUIT):
            signal.signal(number, self._killed)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def done(self, code: int) -> None:
        """Stop the reactor, with an exit code."""
        self.code = code
        self._end()

    def failed(self, failure: Failure) -> None:
        """Stop the reactor, with an exception."""
        self.failure = failure
        self._end()

    def _signalled(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP and self._hang_up is not None:
            self._reactor.callFromThread(self._hang_up)
            return
        if number == signal.SIGTERM:  # a plugin may keep the reactor busy for ever
            signal.signal(signal.SIGALRM, lambda *_: self._killed(number, None))
            signal.alarm(STUCK_TIMEOUT)
        self._reactor.callFromThread(self._stop_for, number)

    def _killed(self, number: int, _frame: object) -> None:
        """Save what can be saved, in the signal handler, because the reactor may hang.

        SIGABRT is what the watchdog of a service manager sends.
        """
        try:
            self._before_kill()
        finally:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _stop_for(self, number: int) -> None:
        signal.alarm(0)
        self._signals += 1
        self.code = 130 if number == signal.SIGINT else 0
        if self._signals == 1:
            self._try(lambda: self._stop().addBoth(lambda _: self._end()))
        else:
            self._try(self._abort)
            self._reactor.callLater(0, self._end)  # after what the aborted sessions report

    def _try(self, call: Callable[[], object]) -> None:
        """Call what stops the program, which stops even if that fails."""
        try:
            call()
        except BaseException:
            self.failed(Failure())

    def _end(self) -> None:
        if self._reactor.running and not self._ended:
            self._ended = True
            self._reactor.stop()
