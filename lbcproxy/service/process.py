"""What concerns the process as a whole: signals, open files, the reactor."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["Shutdown", "raise_open_files", "return_freed_memory", "run_reactor"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
STUCK = 30
"""Seconds after SIGTERM in which the reactor is to hear of it; then the program is killed."""
LARGE = 128 << 10
KEPT = 8 << 20


def raise_open_files() -> int:
    """Raise the soft limit of open files to the hard one, and give it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # where the hard one is infinite, the system may say no
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return hard


def return_freed_memory() -> None:
    """Have the C library map large buffers one by one, so that each goes back when it is let go.

    By itself glibc stops doing that at the first that is freed, and the gaps between the buffers
    of many sessions then take as much again as the buffers. Some of what is free it may keep: to
    ask for it anew at each read costs more than the reading. Other libraries have no such setting.
    """
    try:
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)
        ctypes.CDLL(None).mallopt(M_TRIM_THRESHOLD, KEPT)
    except (OSError, AttributeError):
        return


def run_reactor(
    main: Callable[[], Awaitable[int]],
    stop: Callable[[], Deferred[Any]],
    abort: Callable[[], None],
    reactor: Any,
    hang_up: Callable[[], object] | None = None,
    die: Callable[[], object] = bool,
) -> int:
    """Run the reactor until `main` is done or a signal came; give the exit code.

    The first SIGINT or SIGTERM calls `stop` and waits for it, the second calls `abort` and does
    not. SIGINT ends with 130, SIGTERM with 0. SIGHUP calls `hang_up`, if there is one. SIGABRT and
    SIGQUIT from outside call `die` and then kill as they always do.
    """
    ending = Shutdown(stop, abort, reactor, hang_up, die)

    def begin() -> None:
        ending.install()
        running: Deferred[int] = Deferred.fromCoroutine(main())  # type: ignore[arg-type]
        running.addCallbacks(ending.done, ending.failed)

    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=True)
    if ending.failure is not None:
        ending.failure.raiseException()
    return ending.code


class Shutdown:
    """Ends the reactor when signals say so; in order first, at once if they insist."""

    def __init__(
        self,
        stop: Callable[[], Deferred[Any]],
        abort: Callable[[], None],
        reactor: Any,
        hang_up: Callable[[], object] | None = None,
        die: Callable[[], object] = bool,
    ) -> None:
        self._stop = stop
        self._abort = abort
        self._hang_up = hang_up
        self._die = die
        self._reactor = reactor
        self._signals = 0
        self._ended = False
        self.code = 0
        self.failure: Failure | None = None

    def install(self) -> None:
        """Take the signals over; Twisted's own handlers would stop with sessions open."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._signalled)
        if self._hang_up is not None:
            signal.signal(signal.SIGHUP, self._signalled)
        for number in (signal.SIGABRT, signal.SIGQUIT):
            signal.signal(number, self._killed)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def done(self, code: int) -> None:
        """End with a code."""
        self.code = code
        self._end()

    def failed(self, failure: Failure) -> None:
        """End with what was raised."""
        self.failure = failure
        self._end()

    def _signalled(self, number: int, _frame: Any) -> None:
        if number == signal.SIGHUP:
            self._reactor.callFromThread(self._hang_up)
            return
        if number == signal.SIGTERM:  # a plugin may keep the reactor from hearing of it
            signal.signal(signal.SIGALRM, lambda *_: self._killed(number, None))
            signal.alarm(STUCK)
        self._reactor.callFromThread(self._stop_for, number)

    def _killed(self, number: int, _frame: Any) -> None:
        """Save what can be saved, as of a watchdog's SIGABRT; the reactor may hang, so here."""
        try:
            self._die()
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
            self._reactor.callLater(0, self._end)  # behind what the aborts have to tell

    def _try(self, call: Callable[[], object]) -> None:
        """Call what ends the program, which ends even if that fails."""
        try:
            call()
        except BaseException:
            self.failed(Failure())

    def _end(self) -> None:
        if self._reactor.running and not self._ended:
            self._ended = True
            self._reactor.stop()
