"""Timeouts after which a session is ended, if the operator has set any."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lbcproxy.clock import Clock
from lbcproxy.peer.liveness import Wakeup

__all__ = ["Deadlines", "silence"]


class Deadlines:
    """Ends a session that has not completed its handshake, or that is idle, for too long.

    Args:
        clock: Twisted's reactor, or a test's clock.
        handshake: Seconds for the handshake; None for no limit.
        idle: Seconds without a byte; None for no limit.
        end: Called once, with the reason.
    """

    def __init__(
        self,
        clock: Clock,
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
        """Start the timers; `is_ready` returns whether both nodes have completed the handshake."""
        self.alive()
        if self._handshake is not None:
            self._later("handshake", self._handshake, partial(self._check_ready, is_ready))
        if self._idle is not None:
            self._later("idle", self._idle, self._check_idle)

    def alive(self) -> None:
        """Record that bytes came. No timer is reset; it checks this time when it is due."""
        self._last = self._clock.seconds()

    def stop(self) -> None:
        """Cancel the timers."""
        for call in self._calls.values():
            call.cancel()

    def _later(self, name: str, seconds: float, check: Callable[[bool], None]) -> None:
        at = self._clock.seconds() + seconds
        self._calls[name] = Wakeup(self._clock, at, lambda: self._last, check)

    def _check_ready(self, is_ready: Callable[[], bool], read_late: bool) -> None:
        if is_ready():
            return
        assert self._handshake is not None
        if read_late:
            self._later("handshake", self._handshake, partial(self._check_ready, is_ready))
        else:
            self._end(f"no handshake in {self._handshake:g} s")

    def _check_idle(self, _: bool) -> None:
        assert self._idle is not None
        left = self._last + self._idle - self._clock.seconds()
        if left > 0:
            self._later("idle", left, self._check_idle)
        else:
            self._end(f"not a byte in {self._idle:g} s")


def silence(clock: Clock, seconds: float, end: Callable[[], object]) -> Deadlines:
    """Return started deadlines that call `end` after so many seconds without a byte."""
    deadlines = Deadlines(clock, handshake=None, idle=seconds, end=lambda _: end())
    deadlines.start(lambda: True)
    return deadlines
