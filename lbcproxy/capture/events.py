"""What happened in a capture, told once more.

A capture is a row of events: a client connected, bytes passed with what was decided of them, a side
closed. `tell` tells one to an observer as if it happened now, so whatever takes what happens live
takes a capture too: a `Recorder` that is told all events of a file writes it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from lbcproxy.capture.session_report import SessionReport
from lbcproxy.session import Delivery, Direction, End, Lost, Observer, SessionInfo, SessionSummary

if TYPE_CHECKING:
    from lbcproxy.session.entry import Entry

__all__ = [
    "Connected",
    "Ended",
    "Ending",
    "Event",
    "Finished",
    "Header",
    "Missing",
    "Passed",
    "Reset",
    "Started",
    "tell",
]


class Header(msgspec.Struct, frozen=True):
    """What a file says at the beginning of a section of itself; sessions do not live on across it.

    A file of others has none.
    """

    network: str | None = None
    """The network's id; None where each session has its own, or the file does not say."""
    legs: str = "client"
    """Which legs of a session stand in it: `client` or `both`."""
    changes: bool = False
    """Whether what went out may differ from what came in."""
    metadata: Mapping[str, object] = {}
    """What else its writer said of it."""
    comments: tuple[str, ...] = ()
    """The same, for people."""


class Started(msgspec.Struct, frozen=True):
    """A client connected."""

    facts: SessionInfo
    time_ns: int
    begun: bool = True
    """False where the beginning of the session was not captured."""
    protocol_version: int | None = None
    """Then: what its nodes had agreed on, if the capture says so."""


class Connected(msgspec.Struct, frozen=True):
    """The upstream leg is there."""

    facts: SessionInfo
    time_ns: int


class Passed(msgspec.Struct, frozen=True):
    """Bytes passed in a direction, in whole messages and what is none.

    A delivery whose message was rewritten has what went out in `sent` where the capture holds both
    legs; else `raw` is what stood on the client's leg. Its entries are numbered over the capture.
    """

    facts: SessionInfo
    direction: Direction
    deliveries: tuple[Delivery, ...]
    time_ns: int

    @property
    def messages(self) -> int:
        """Return how many messages passed; gaps and bytes that are no message do not count."""
        return sum(
            len(each.run) if each.run is not None else _messages_in(each.entries)
            for each in self.deliveries
        )


def _messages_in(entries: Iterable[Entry]) -> int:
    return sum(each.message is not None for each in entries)


class Ending(msgspec.Struct, frozen=True):
    """The capture says why the session ends, which is before the first end of a direction."""

    facts: SessionInfo
    end: End
    time_ns: int


class Finished(msgspec.Struct, frozen=True):
    """The sender in a direction closed it in order."""

    facts: SessionInfo
    direction: Direction
    time_ns: int


class Reset(msgspec.Struct, frozen=True):
    """The sender in a direction broke the session off."""

    facts: SessionInfo
    direction: Direction
    time_ns: int


class Ended(msgspec.Struct, frozen=True):
    """A session is over, or the capture tells no more of it."""

    facts: SessionInfo
    report: SessionReport
    closed: bool
    """Whether somebody closed it."""
    time_ns: int

    @property
    def summary(self) -> SessionSummary:
        """The same, as observers are told."""
        return SessionSummary(
            facts=self.facts,
            end=self.report.end,
            protocol_version=self.report.to_upstream.protocol_version,
            client=self.report.to_upstream,
            upstream=self.report.to_client,
        )


class Missing(msgspec.Struct, frozen=True):
    """The capture says that something is not in it that happened before this."""

    lost: Lost
    time_ns: int


Event: TypeAlias = (
    Header | Started | Connected | Passed | Ending | Finished | Reset | Ended | Missing
)


def tell(event: Event, observer: Observer) -> None:
    """Tell an observer what happened; a `Header` is about the file and told to nobody."""
    match event:
        case Started(begun=True):
            observer.started(event.facts, event.time_ns)
        case Started():
            observer.continued(event.facts, event.protocol_version, event.time_ns)
        case Connected():
            observer.upstream_connected(event.facts, event.time_ns)
        case Passed():
            observer.passed(event.facts, event.direction, event.deliveries, event.time_ns)
        case Ending():
            observer.ending(event.facts, event.end, event.time_ns)
        case Finished():
            observer.finished(event.facts, event.direction, event.time_ns)
        case Reset():
            observer.reset(event.facts, event.direction, event.time_ns)
        case Ended(closed=True):
            observer.ended(event.summary, event.time_ns)
        case Ended():
            observer.left(event.summary, event.time_ns)
        case Missing():
            observer.missed(None, event.lost, event.time_ns)
