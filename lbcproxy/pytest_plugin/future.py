"""A result that arrives later, for plain tests and those of asyncio and Twisted."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["PendingResult"]

T = TypeVar("T")


class PendingResult(Generic[T]):
    """A result that arrives later.

    A plain test calls `result()`, and a coroutine of asyncio or Twisted awaits it. `deferred()`
    returns a Deferred of the global reactor.
    """

    def __init__(self, future: Future[T], what: str) -> None:
        self._future = future
        self.what = what
        """What arrives, such as the command of a message."""
        self.is_awaited = False
        """Whether it was awaited or requested."""

    def __repr__(self) -> str:
        return f"<PendingResult {self.what}{': there' if self.done() else ''}>"

    def done(self) -> bool:
        """Return whether it has arrived or failed."""
        return self._future.done()

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result, and return it.

        Args:
            timeout: Seconds to wait; None for no limit.

        Raises:
            TimeoutError: If it does not arrive in time.
            RuntimeError: In a coroutine of asyncio, whose loop would be blocked.
            Exception: The exception that it failed with.
        """
        self.is_awaited = True
        if not self._future.done() and _in_asyncio():
            raise RuntimeError(f"await it: result() stops the loop of this coroutine ({self!r})")
        return self._future.result(timeout)

    def deferred(self) -> Deferred[T]:
        """Return a Deferred of the result; call and use it in the global reactor's thread."""
        from twisted.internet import reactor  # noqa: TID251 # the test's own, which waits for us

        self.is_awaited = True
        waiting: Deferred[T] = Deferred()
        there: Any = reactor
        self._future.add_done_callback(lambda _: there.callFromThread(self._tell, waiting))
        return waiting

    def __await__(self) -> Generator[Any, Any, T]:
        self.is_awaited = True
        if _in_asyncio():
            return asyncio.wrap_future(self._future).__await__()
        return self.deferred().__await__()

    def _tell(self, waiting: Deferred[T]) -> None:
        if waiting.called:
            return
        error = self._future.exception()
        if error is None:
            waiting.callback(self._future.result())
        else:
            waiting.errback(Failure(error))


def _in_asyncio() -> bool:
    """Return whether a coroutine of asyncio is running; false for one of Twisted's."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False
