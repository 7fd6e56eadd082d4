"""A reactor of our own in a thread, so that tests may have any loop, or none.

It is not the reactor that `twisted.internet.reactor` means: trial and pytest-twisted run that one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure

from lbcproxy.pytest_plugin.future import Answer

__all__ = ["Loop"]

T = TypeVar("T")

SECONDS = 60.0
"""After which what is asked of the loop is given up; nothing takes nearly so long."""


class Loop:
    """A reactor that runs until `stop`."""

    def __init__(self) -> None:
        self.reactor: Any = _make_reactor()
        self._thread = threading.Thread(target=self._run, name="lbcproxy", daemon=True)
        self._thread.start()

    @property
    def thread_id(self) -> int | None:
        """The thread it runs in."""
        return self._thread.ident

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in the reactor's thread and give what it, or its Deferred, comes to."""
        return self._begin(function, arguments).result(SECONDS)

    def start(self, what: str, function: Callable[..., Any], *arguments: Any) -> Answer[Any]:
        """Do the same, and do not wait; `what` says in words what is awaited."""
        return Answer(self._begin(function, arguments), what)

    def stop(self) -> None:
        """Stop the reactor and wait for its thread."""
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join(SECONDS)

    def _begin(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # who waits no longer does not end what it waited for
        self.reactor.callFromThread(_begin, future, function, arguments)
        return future

    def _run(self) -> None:
        self.reactor.run(installSignalHandlers=False)


def _begin(future: Future[Any], function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    waiting = maybeDeferred(_called, function, arguments)
    waiting.addCallbacks(future.set_result, lambda failure: _fail(future, failure))


def _called(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    result = function(*arguments)
    return Deferred.fromCoroutine(result) if hasattr(result, "send") else result


def _fail(future: Future[Any], failure: Failure) -> None:
    error: Any = failure.value
    future.set_exception(error)


def _make_reactor() -> Any:
    """Make the kind that Twisted chooses by itself on this system, as far as it has it."""
    try:
        from twisted.internet.epollreactor import EPollReactor
    except ImportError:
        return SelectReactor()
    return EPollReactor()
