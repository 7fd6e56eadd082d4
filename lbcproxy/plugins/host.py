"""Who runs a pipeline: the clock, the connections and the log that the core does not have."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from lbcproxy.session.direction import Direction
from lbcproxy.session.end import End
from lbcproxy.session.entry import Delivery

__all__ = ["Host"]


class Host(Protocol):
    """Who runs a pipeline."""

    def send(self, direction: Direction, data: bytes) -> None:
        """Send bytes on."""

    def tell(self, direction: Direction, deliveries: Sequence[Delivery]) -> None:
        """Tell the observers what has passed."""

    def finish(self, direction: Direction) -> None:
        """End a direction: all that came in it has gone."""

    def close(self, end: End) -> None:
        """End the session in order."""

    def hold(self, direction: Direction, held: bool) -> None:
        """Stop reading what comes in a direction, or go on."""

    def is_full(self, direction: Direction) -> bool:
        """Whether the receiver in a direction reads less than is sent."""

    def now(self) -> int:
        """Give the time of day in nanoseconds."""

    def run(self, work: Coroutine[Any, Any, Any], done: Callable[[], object]) -> None:
        """Run what may wait, and call `done` behind it."""

    def limited(self, answer: Coroutine[Any, Any, Any], limit: float | None) -> Any:
        """Give something to await that ends with TimeoutError if a hook takes too long.

        What the hook raises comes as an Exception, whatever it is. A GeneratorExit out of it says
        that nobody waits any more.
        """

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call something later, unless the session has ended by then."""

    def sleep(self, seconds: float) -> Any:
        """Give what a hook can await."""

    def complain(self, words: str, error: BaseException | None) -> None:
        """Tell the operator what a plugin did wrong."""
