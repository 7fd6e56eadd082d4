"""The times after which a session is ended, where the operator wants that."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from lbcproxy.peer.liveness import Wakeup

__all__ = ["Deadlines", "silence"]


class Deadlines:
    """Ends a session without a handshake, or without a byte, in a number of seconds.

    None is for never; `clock` is Twisted's `IReactorTime`; `end` is told why, once.
    """

    def __init__(
        self,
        clock: Any,
        *,
        handshake: float | None,
        idle: float | None,
        end: Callable[[str], object],
    ) -> None:
        self._clock = clock
        self._handshake = handshake
        self._idle = idle
        self._end = end
        self._last = 0.0
        self._calls: dict[str, Wakeup] = {}

    def start(self, is_ready: Callable[[], bool]) -> None:
        """Begin; `is_ready` says whether both nodes have finished the handshake."""
        self.alive()
        if self._handshake is not None:
            self._later("handshake", self._handshake, partial(self._look_ready, is_ready))
        if self._idle is not None:
            self._later("idle", self._idle, self._look_idle)

    def alive(self) -> None:
        """Take note that a byte came. Nothing is set anew for it: the time is looked at later."""
        self._last = self._clock.seconds()

    def stop(self) -> None:
        """Watch no longer."""
        for call in self._calls.values():
            call.cancel()

    def _later(self, name: str, seconds: float, look: Callable[[bool], None]) -> None:
        at = self._clock.seconds() + seconds
        self._calls[name] = Wakeup(self._clock, at, lambda: self._last, look)

    def _look_ready(self, is_ready: Callable[[], bool], came_meanwhile: bool) -> None:
        if is_ready():
            return
        assert self._handshake is not None
        if came_meanwhile:
            self._later("handshake", self._handshake, partial(self._look_ready, is_ready))
        else:
            self._end(f"no handshake in {self._handshake:g} s")

    def _look_idle(self, _: bool) -> None:
        assert self._idle is not None
        left = self._last + self._idle - self._clock.seconds()
        if left > 0:
            self._later("idle", left, self._look_idle)
        else:
            self._end(f"not a byte in {self._idle:g} s")


def silence(clock: Any, seconds: float, end: Callable[[], object]) -> Deadlines:
    """Have something ended when not a byte has come for so long."""
    deadlines = Deadlines(clock, handshake=None, idle=seconds, end=lambda _: end())
    deadlines.start(lambda: True)
    return deadlines
