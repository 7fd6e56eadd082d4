"""What happened in a capture, in order.

A capture is a sequence of events: the header of a section, then what happened in its sessions. The
events of sessions are those that the observers of a live session handle, so whatever observes live
sessions can read a capture too: a `Recorder` that handles all events of a file writes it again.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TypeAlias
from weakref import WeakKeyDictionary

import msgspec

from lbcproxy.capture.session_report import SessionReport
from lbcproxy.session import Observer, SessionInfo, SessionSummary
from lbcproxy.session.events import SessionEnded, SessionEvent
from lbcproxy.session.observer import EventRouter

__all__ = ["CaptureSessionEnded", "Event", "SectionHeader", "session_ended"]


class SectionHeader(msgspec.Struct, frozen=True):
    """What a file says at the beginning of a section; sessions do not continue across it.

    Files of other programs have none.
    """

    network: str | None = None
    """The network's id; None if each session has its own, or if the file does not say."""
    legs: str = "client"
    """The legs of a session that are in the file: `client` or `both`."""
    changes: bool = False
    """Whether what went out may differ from what came in."""
    metadata: Mapping[str, object] = {}
    """Other values of its writer."""
    comments: tuple[str, ...] = ()
    """The same, for people."""


class CaptureSessionEnded(SessionEnded, frozen=True, kw_only=True):
    """A session is over, or the capture holds nothing more of it."""

    report: SessionReport


def session_ended(
    info: SessionInfo, report: SessionReport, closed: bool, time_ns: int
) -> CaptureSessionEnded:
    """Return the last event of a session, whose summary is that of a report."""
    summary = SessionSummary(
        info=info,
        end=report.end,
        protocol_version=report.to_upstream.protocol_version,
        client=report.to_upstream,
        upstream=report.to_client,
    )
    return CaptureSessionEnded(summary, time_ns, closed, report=report)


Event: TypeAlias = SectionHeader | SessionEvent


_ROUTERS: WeakKeyDictionary[Observer, EventRouter] = WeakKeyDictionary()


def tell(event: Event, observer: Observer) -> None:
    """Have an observer handle an event. Deprecated: use `lbcproxy.session.EventRouter`."""
    warnings.warn(
        "tell(event, observer) is now EventRouter(observer).handle(event)",
        DeprecationWarning,
        stacklevel=2,
    )
    if not isinstance(event, SectionHeader):
        _ROUTERS.setdefault(observer, EventRouter(observer)).handle(event)
