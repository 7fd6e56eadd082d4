"""A separate reactor in a thread, so that tests may use any event loop, or none.

It is not the global `twisted.internet.reactor`, which trial and pytest-twisted run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure

from lbcproxy.pytest_plugin.future import PendingResult
from lbcproxy.reactor import Reactor

__all__ = ["Loop"]

Outcome: TypeAlias = Any
"""What a function returns, or what its Deferred or coroutine results in."""

CALL_TIMEOUT = 60.0
"""Seconds to wait for a call; no call takes nearly as long."""


class Loop:
    """A reactor that runs until `stop`."""

    def __init__(self) -> None:
        self.reactor: Reactor = _make_reactor()
        self._thread = threading.Thread(target=self._run, name="lbcproxy", daemon=True)
        self._thread.start()

    @property
    def thread_id(self) -> int | None:
        """The id of its thread."""
        return self._thread.ident

    def call(self, function: Callable[..., object], *arguments: object) -> Outcome:
        """Call a function in the reactor's thread, wait, and return its result.

        The function may return a Deferred or a coroutine.
        """
        return self._begin(function, arguments).result(CALL_TIMEOUT)

    def start(
        self, what: str, function: Callable[..., object], *arguments: object
    ) -> PendingResult[Outcome]:
        """Call a function like `call`, but do not wait; `what` describes the result."""
        return PendingResult(self._begin(function, arguments), what)

    def stop(self) -> None:
        """Stop the reactor and wait for its thread."""
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join(CALL_TIMEOUT)

    def _begin(
        self, function: Callable[..., object], arguments: tuple[object, ...]
    ) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        future.set_running_or_notify_cancel()  # a caller that times out does not cancel the call
        self.reactor.callFromThread(_begin, future, function, arguments)
        return future

    def _run(self) -> None:
        self.reactor.run(installSignalHandlers=False)


def _begin(
    future: Future[Outcome], function: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    waiting = maybeDeferred(_called, function, arguments)
    waiting.addCallbacks(future.set_result, lambda failure: _fail(future, failure))


def _called(function: Callable[..., object], arguments: tuple[object, ...]) -> object:
    result = function(*arguments)
    return Deferred.fromCoroutine(result) if isinstance(result, Coroutine) else result


def _fail(future: Future[Outcome], failure: Failure) -> None:
    future.set_exception(failure.value)


def _make_reactor() -> Reactor:
    """Return a reactor of the type that Twisted uses by default on this system."""
    try:
        from twisted.internet.epollreactor import EPollReactor
    except ImportError:
        return SelectReactor()
    return EPollReactor()
