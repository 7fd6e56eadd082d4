"""A clock that calls functions later: the part of Twisted's reactor that a timer needs.

Twisted's reactor and its `task.Clock`, which tests advance by hand, both satisfy `Clock`. Twisted's
own `IReactorTime` is a zope interface, which mypy cannot check.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Clock", "DelayedCall"]


class DelayedCall(Protocol):
    """A call that a clock has been asked to make (Twisted's `IDelayedCall`)."""

    def getTime(self) -> float:  # noqa: N802  # Twisted's name
        """Return the time of its clock, in seconds, at which the call is due."""

    def cancel(self) -> None:
        """Cancel the call."""

    def reset(self, seconds: float, /) -> None:
        """Make the call due this many seconds from now."""

    def delay(self, seconds: float, /) -> None:
        """Postpone the call by this many seconds."""

    def active(self) -> bool:
        """Whether the call is still pending: neither made nor cancelled."""


class Clock(Protocol):
    """A source of time that calls functions later (Twisted's `IReactorTime`)."""

    def seconds(self) -> float:
        """Return the time in seconds, from an arbitrary start."""

    def callLater(  # noqa: N802  # Twisted's name
        self, delay: float, call: Callable[..., object], /, *args: object
    ) -> DelayedCall:
        """Call a function after a delay in seconds.

        Args:
            delay: The seconds until then, 0 or more.
            call: The function. What it returns is not used.
            args: The arguments to call it with.

        Returns:
            The call, which can be cancelled while it is active.
        """
