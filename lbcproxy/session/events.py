"""What happens in a session, as values. Observers and captures use the same ones.

Times are in nanoseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from lbcproxy.session.direction import Direction
from lbcproxy.session.end import End
from lbcproxy.session.entry import Delivery, Entry
from lbcproxy.session.info import Lost, SessionInfo, SessionSummary

__all__ = [
    "Delivered",
    "DirectionClosed",
    "NotRecorded",
    "ObserverDropped",
    "SessionEnded",
    "SessionEnding",
    "SessionEvent",
    "SessionReset",
    "SessionStarted",
    "TransportsAgreed",
    "UpstreamConnected",
]


class SessionStarted(msgspec.Struct, frozen=True):
    """A client connected. It is the first event of every session."""

    info: SessionInfo
    time_ns: int
    from_start: bool = True
    """False if a capture does not hold the beginning of the session."""
    protocol_version: int | None = None
    """The version that was negotiated before this point, if `from_start` is False."""


class UpstreamConnected(msgspec.Struct, frozen=True):
    """The upstream leg is connected; `info` holds its addresses from now on."""

    info: SessionInfo
    time_ns: int


class TransportsAgreed(msgspec.Struct, frozen=True):
    """An encrypted leg has its keys; `info` has the transports of both legs from now on.

    It is sent before the first message. Sessions whose legs are both v1 do not have it. In mode
    `terminate`, where the client's first message comes before there is an upstream, it is sent
    again when an encrypted upstream leg has its session id.
    """

    info: SessionInfo
    time_ns: int


class Delivered(msgspec.Struct, frozen=True, gc=False):
    """Bytes passed in one direction, with the messages they complete.

    In captures that hold both legs, a rewritten message has what went out in `sent`. In other
    captures, `raw` is what was on the client leg.
    """

    info: SessionInfo
    direction: Direction
    deliveries: Sequence[Delivery]
    time_ns: int

    @property
    def messages(self) -> int:
        """How many messages passed; gaps and junk do not count."""
        return sum(
            len(each.run) if each.run is not None else _messages_in(each.entries)
            for each in self.deliveries
        )


def _messages_in(entries: Iterable[Entry]) -> int:
    return sum(each.message is not None for each in entries)


class SessionEnding(msgspec.Struct, frozen=True):
    """The reason why the session ends is known.

    It is sent once, before a direction closes. Messages that were waiting may still be delivered.
    If it is not sent, only `SessionEnded` has the reason.
    """

    info: SessionInfo
    end: End
    time_ns: int


class DirectionClosed(msgspec.Struct, frozen=True):
    """The sender of this direction closed it in order (FIN)."""

    info: SessionInfo
    direction: Direction
    time_ns: int


class SessionReset(msgspec.Struct, frozen=True):
    """The sender of this direction reset its connection (RST)."""

    info: SessionInfo
    direction: Direction
    time_ns: int


class SessionEnded(msgspec.Struct, frozen=True):
    """The session is over."""

    summary: SessionSummary
    time_ns: int
    closed: bool = True
    """False if nobody closed it: a capture ends first, or holds nothing more of it."""

    @property
    def info(self) -> SessionInfo:
        """The session."""
        return self.summary.info


class NotRecorded(msgspec.Struct, frozen=True):
    """Something happened before this and was lost: an observer failed, or a capture lacks it."""

    info: SessionInfo | None
    """The session; None if it is not known."""
    lost: Lost
    time_ns: int


class ObserverDropped(msgspec.Struct, frozen=True):
    """The session is over; this observer failed in it, and got only `NotRecorded` after that."""

    info: SessionInfo
    time_ns: int


SessionEvent: TypeAlias = (
    Delivered
    | SessionStarted
    | UpstreamConnected
    | TransportsAgreed
    | SessionEnding
    | DirectionClosed
    | SessionReset
    | SessionEnded
    | NotRecorded
    | ObserverDropped
)
