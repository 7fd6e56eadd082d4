"""What runs a pipeline: the clock, the connections and the log that the core does not have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Protocol, TypeVar

from lbcproxy.session.direction import Direction
from lbcproxy.session.end import End
from lbcproxy.session.entry import Delivery

__all__ = ["PipelineHost"]

T = TypeVar("T")


class PipelineHost(Protocol):
    """What runs a pipeline; `lbcproxy.proxy.plugin_host` is the implementation with Twisted."""

    def send(self, direction: Direction, data: bytes) -> None:
        """Send bytes in a direction."""

    def send_deliveries(
        self, direction: Direction, deliveries: Sequence[Delivery], data: bytes | None
    ) -> Sequence[Delivery]:
        """Send what deliveries hold in a direction, in the form of the receiver's transport.

        Args:
            direction: Where to send it.
            deliveries: What has been decided.
            data: Their bytes, if they are already joined.

        Returns:
            The deliveries as they are to be reported: what cannot be sent is dropped.
        """

    def notify_delivered(self, direction: Direction, deliveries: Sequence[Delivery]) -> None:
        """Report deliveries to the observers of the session."""

    def finish(self, direction: Direction) -> None:
        """Close a direction: everything that arrived in it has been sent."""

    def close(self, end: End) -> None:
        """Close the session on both sides."""

    def hold(self, direction: Direction, held: bool) -> None:
        """Stop reading what arrives in a direction, or resume."""

    def is_full(self, direction: Direction) -> bool:
        """Return whether the receiver in a direction reads less than is sent."""

    def now(self) -> int:
        """Return the time of day in nanoseconds since 1970, UTC."""

    def run(self, work: Coroutine[object, object, None], done: Callable[[], object]) -> None:
        """Start a coroutine, and call `done` when it has ended, unless the session is over."""

    def limited(self, answer: Coroutine[object, object, T], limit: float | None) -> Awaitable[T]:
        """Return an awaitable of a hook's answer that raises TimeoutError if it takes too long.

        Whatever the hook raises is raised as an Exception. A GeneratorExit out of the awaitable
        means that the session is over.

        Args:
            answer: The coroutine of the hook.
            limit: Seconds; None for the limit of all plugins.
        """

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call a function later, unless the session is over by then."""

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Return an awaitable that ends after so many seconds."""

    def complain(self, words: str, error: BaseException | None) -> None:
        """Report to the operator what a plugin did wrong."""
