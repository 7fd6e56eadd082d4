"""The callbacks of a peer: methods of the user's object, found by name.

Each may be plain or async. While an async one runs, no later message of its peer is delivered. One
that raises costs its peer the connection, and no other peer.

| name | called |
|---|---|
| `on_<command>(peer, record)` | when that message came, after what the peer does by itself |
| `on_message(peer, message)` | when any message came, before the one for its command |
| `on_read(peer, size, message, error)` | first of all, for whatever was read, good or bad |
| `on_write(peer, size, record)` | when a message was passed to the transport |
| `on_ready(peer)` | when the handshake is complete |
| `on_disconnected(peer, why)` | when the connection is gone |

`on_version` may return a `Reject`: it is sent, and the connection ends. `on_read`, `on_write`,
`on_ready` and `on_disconnected` are plain.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Awaitable, Callable, Iterator

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from lbcproxy.wire.registry import OPAQUE, commands

__all__ = ["CallbackDispatcher", "check_callbacks"]

PLAIN = ("on_read", "on_write", "on_ready", "on_disconnected")
GENERAL = ("on_message", *PLAIN)


def check_callbacks(callbacks: object) -> None:
    """Check the names of an object's callbacks.

    Raises:
        TypeError: A name begins with `on_` and is no callback, so it is misspelt; or a callback is
            async where nobody would wait for it.
    """
    known = {*GENERAL, *(f"on_{command}" for command in commands())}
    for name in dir(callbacks):
        if name.startswith("on_") and name not in known:
            near = difflib.get_close_matches(name, known)
            hint = f", did you mean {near[0]}?" if near else ""
            if name.removeprefix("on_") in OPAQUE:
                hint = ": that command is not decoded, use on_message"
            raise TypeError(f"{type(callbacks).__name__}.{name} is not a callback{hint}")
    for name in PLAIN:
        if inspect.iscoroutinefunction(getattr(callbacks, name, None)):
            raise TypeError(
                f"{type(callbacks).__name__}.{name} cannot be async: it is not waited for"
            )


class CallbackDispatcher:
    """Calls the callbacks of one peer.

    Args:
        peer: The first argument of every callback.
        callbacks: The object whose methods they are; None if there are none.
        on_failure: Is called with the name of a callback that raised, and the failure.
    """

    def __init__(
        self, peer: object, callbacks: object, on_failure: Callable[[str, Failure], None]
    ) -> None:
        check_callbacks(callbacks)
        self._peer = peer
        self._callbacks = callbacks
        self._on_failure = on_failure

    def call(self, name: str, *arguments: object) -> object:
        """Call a callback, if there is one, and return its answer."""
        callback = getattr(self._callbacks, name, None)
        if callback is None:
            return None
        try:
            answer: object = callback(self._peer, *arguments)
        except Exception:
            self._on_failure(name, Failure())
            return None
        return answer

    def run(self, calls: Iterator[tuple[str, object]], answer: object = None) -> object:
        """Call callbacks one after the other, each when the one before it is done.

        Args:
            calls: The name and argument of each.
            answer: What to return if there are none.

        Returns:
            The last answer; a Deferred of it if an async callback has to be waited for. The
            Deferred fails if that callback raised.
        """
        for name, argument in calls:
            answer = self.call(name, argument)
            if inspect.isawaitable(answer):
                return self._wait(name, answer, calls)
        return answer

    def _wait(
        self, name: str, answer: Awaitable[object], calls: Iterator[tuple[str, object]]
    ) -> Deferred[object]:
        def failed(failure: Failure) -> Failure:
            self._on_failure(name, failure)
            return failure

        waiting: Deferred[object] = Deferred.fromCoroutine(_result_of(answer))
        waiting.addCallbacks(lambda value: self.run(calls, value), failed)
        return waiting


async def _result_of(answer: Awaitable[object]) -> object:
    return await answer
