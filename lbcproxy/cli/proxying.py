"""A proxy under the reactor: start, signals, stop. What `run` and `demo` share."""

from __future__ import annotations

import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogBeginner
from twisted.python.failure import Failure

from lbcproxy.capture import CaptureFile, Recorder, new_name
from lbcproxy.cli.console import Console
from lbcproxy.networks import Network

__all__ = ["CAPTURES", "begin_recording", "log_to", "run_reactor"]

CAPTURES = Path("captures")
"""The folder, below the current one, in which captures are put."""


def begin_recording(
    path: str | None,
    what: str,
    network: Network,
    legs: str,
    console: Console,
    reactor: Any,
    changes: bool = False,
) -> tuple[CaptureFile, Recorder]:
    """Open a capture, by default a new one in `captures/`; raises CaptureError."""

    def failed(why: str) -> None:
        words = f"{why}; traffic goes on unrecorded"
        reactor.callFromThread(console.event, words, None, time.time_ns(), bad=True)

    file = CaptureFile(path or new_name(CAPTURES, what), failed)
    if file.cut:
        console.event(
            f"cut {file.cut:,} bytes of a torn block off {file.path}", None, time.time_ns()
        )
    return file, Recorder(file.write, network=network.id, legs=legs, changes=changes)


def log_to(console: Console) -> None:
    """Send what Twisted and the proxy log as warning or worse to the console."""

    def observe(event: dict[str, Any]) -> None:
        if event["log_level"] >= LogLevel.warn:
            failure = event.get("log_failure")
            detail = f": {failure.getTraceback()}" if failure is not None else ""
            console.event(f"{formatEvent(event)}{detail}", None, time.time_ns(), bad=True)

    globalLogBeginner.beginLoggingTo(
        [cast("ILogObserver", observe)], redirectStandardIO=False, discardBuffer=True
    )


def run_reactor(
    main: Callable[[], Awaitable[int]],
    stop: Callable[[], Deferred[Any]],
    abort: Callable[[], None],
    reactor: Any,
) -> int:
    """Run the reactor until `main` is done or a signal came; give the exit code.

    The first SIGINT or SIGTERM calls `stop` and waits for it, the second calls `abort` and does
    not. SIGINT ends with 130, SIGTERM with 0.
    """
    ending = _Ending(stop, abort, reactor)
    reactor.callWhenRunning(ending.begin, main)
    reactor.run(installSignalHandlers=True)
    if ending.failure is not None:
        ending.failure.raiseException()
    return ending.code


class _Ending:
    def __init__(
        self, stop: Callable[[], Deferred[Any]], abort: Callable[[], None], reactor: Any
    ) -> None:
        self._stop = stop
        self._abort = abort
        self._reactor = reactor
        self._signals = 0
        self.code = 0
        self.failure: Failure | None = None

    def begin(self, main: Callable[[], Awaitable[int]]) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            # Twisted's own handlers would stop the reactor with sessions open.
            signal.signal(number, self._signalled)
        running: Deferred[int] = Deferred.fromCoroutine(main())  # type: ignore[arg-type]
        running.addCallbacks(self._done, self._failed)

    def _signalled(self, number: int, _frame: Any) -> None:
        self._reactor.callFromThread(self._stop_for, number)

    def _stop_for(self, number: int) -> None:
        self._signals += 1
        self.code = 130 if number == signal.SIGINT else 0
        if self._signals == 1:
            self._stop().addBoth(lambda _: self._end())
        else:
            self._abort()
            self._reactor.callLater(0, self._end)  # behind what the aborts have to tell

    def _done(self, code: int) -> None:
        self.code = code
        self._end()

    def _failed(self, failure: Failure) -> None:
        self.failure = failure
        self._end()

    def _end(self) -> None:
        if self._reactor.running:
            self._reactor.stop()
