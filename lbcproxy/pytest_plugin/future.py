"""What is not there yet: waited for by a plain test, an asyncio one, or one of Twisted."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["Answer"]

T = TypeVar("T")


class Answer(Generic[T]):
    """Something to come.

    A plain test calls `result()`, an `async def` of asyncio or Twisted awaits it, and who wants a
    Deferred of the reactor that `twisted.internet.reactor` means calls `deferred()`.
    """

    def __init__(self, future: Future[T], what: str) -> None:
        self._future = future
        self._what = what
        self.asked = False
        """Whether anybody has waited for it."""

    def __repr__(self) -> str:
        return f"<Answer {self._what}{': there' if self.done() else ''}>"

    def done(self) -> bool:
        """Whether it is there, or has failed."""
        return self._future.done()

    def result(self, timeout: float | None = None) -> T:
        """Wait and give it; raises what it failed with, or TimeoutError after so many seconds.

        Raises RuntimeError in a coroutine of asyncio: nothing else would run meanwhile.
        """
        self.asked = True
        if not self._future.done() and _in_asyncio():
            raise RuntimeError(f"await it: result() stops the loop of this coroutine ({self!r})")
        return self._future.result(timeout)

    def deferred(self) -> Deferred[T]:
        """Return a Deferred of it; to be called and used in the global reactor's thread."""
        from twisted.internet import reactor  # noqa: TID251 # the test's own, which waits for us

        self.asked = True
        waiting: Deferred[T] = Deferred()
        there: Any = reactor
        self._future.add_done_callback(lambda _: there.callFromThread(self._tell, waiting))
        return waiting

    def __await__(self) -> Generator[Any, Any, T]:
        self.asked = True
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
    """Whether a coroutine of asyncio runs; one of Twisted may, on a reactor that is asyncio's."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False
