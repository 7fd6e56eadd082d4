"""Events of sessions sent to an observer, with a method for each kind of event."""

from collections.abc import Sequence

from lbcproxy.session import (
    Delivery,
    Direction,
    End,
    EventRouter,
    Observer,
    SessionInfo,
    SessionSummary,
)
from lbcproxy.session.events import (
    Delivered,
    DirectionClosed,
    SessionEnded,
    SessionEnding,
    SessionReset,
    SessionStarted,
    UpstreamConnected,
)

__all__ = ["Feed"]


class Feed:
    """Sends an observer what a test says has happened."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.handle = EventRouter(observer).handle

    def started(self, info: SessionInfo, time_ns: int) -> None:
        self.handle(SessionStarted(info, time_ns))

    def upstream_connected(self, info: SessionInfo, time_ns: int) -> None:
        self.handle(UpstreamConnected(info, time_ns))

    def passed(
        self, info: SessionInfo, direction: Direction, deliveries: Sequence[Delivery], time_ns: int
    ) -> None:
        self.handle(Delivered(info, direction, deliveries, time_ns))

    def ending(self, info: SessionInfo, end: End, time_ns: int) -> None:
        self.handle(SessionEnding(info, end, time_ns))

    def finished(self, info: SessionInfo, direction: Direction, time_ns: int) -> None:
        self.handle(DirectionClosed(info, direction, time_ns))

    def reset(self, info: SessionInfo, direction: Direction, time_ns: int) -> None:
        self.handle(SessionReset(info, direction, time_ns))

    def ended(self, summary: SessionSummary, time_ns: int) -> None:
        self.handle(SessionEnded(summary, time_ns))

    def left(self, summary: SessionSummary, time_ns: int) -> None:
        self.handle(SessionEnded(summary, time_ns, closed=False))
