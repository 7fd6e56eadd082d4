"""Observers of sessions: the recorder, the console, the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

from lbcproxy.session.events import (
    Delivered,
    NotRecorded,
    ObserverDropped,
    SessionEnded,
    SessionEvent,
    SessionStarted,
)
from lbcproxy.session.info import Lost, SessionInfo

__all__ = ["EventRouter", "Observer", "SessionObserver", "SessionObservers"]


class SessionObserver(Protocol):
    """Observes one session."""

    def handle(self, event: SessionEvent, /) -> None:
        """Handle what happened next in the session; `SessionStarted` comes first."""


class Observer(Protocol):
    """Observes all sessions of a proxy."""

    def session_started(self, info: SessionInfo, /) -> SessionObserver | None:
        """Return what observes a session; None if its events are not wanted.

        An observer that needs no state for each session returns itself.
        """


class SessionObservers:
    """The observers of one session. A failure of one harms neither the session nor the others.

    An observer that raises gets no more events, except `NotRecorded` for what it missed and
    `ObserverDropped` at the end. `failed` is called with it while the exception is handled.
    """

    def __init__(
        self,
        observers: Iterable[Observer],
        info: SessionInfo,
        failed: Callable[[Observer], object],
    ) -> None:
        self._failed = failed
        self._active: list[tuple[SessionObserver, Observer]] = []
        self._dropped: list[SessionObserver] = []
        for observer in observers:
            try:
                found = observer.session_started(info)
            except Exception:
                failed(observer)
                continue
            if found is not None:
                self._active.append((found, observer))

    def __bool__(self) -> bool:
        return bool(self._active or self._dropped)

    def handle(self, event: SessionEvent) -> None:
        """Send an event to all observers; it never raises."""
        for found, observer in tuple(self._active):
            try:
                found.handle(event)
            except Exception:
                self._active.remove((found, observer))
                self._dropped.append(found)
                self._failed(observer)
        if self._dropped and (missed := _missed(event)) is not None:
            self._send(missed)

    def end(self, event: SessionEnded) -> None:
        """Send the last event."""
        self.handle(event)
        self._send(ObserverDropped(event.info, event.time_ns))

    def _send(self, event: NotRecorded | ObserverDropped) -> None:
        for observer in self._dropped:
            with suppress(Exception):
                observer.handle(event)


def _missed(event: SessionEvent) -> NotRecorded | None:
    """Return what observers that failed have missed of an event."""
    if isinstance(event, NotRecorded):
        return event
    if not isinstance(event, Delivered):
        return None
    lost = Lost(
        messages=sum(len(each.entries) for each in event.deliveries),
        size=sum(len(each.raw) for each in event.deliveries),
        why="a defect of lbcproxy",
    )
    return NotRecorded(event.info, lost, event.time_ns) if lost else None


class EventRouter:
    """Sends the events of several sessions to what observes each of them."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._sessions: dict[int, SessionObserver] = {}

    def handle(self, event: SessionEvent) -> None:
        """Handle what happened next in one of the sessions."""
        if event.info is None:
            return
        number = event.info.number
        if isinstance(event, SessionStarted):
            observer = self._observer.session_started(event.info)
            if observer is not None:
                self._sessions[number] = observer
        observer = self._sessions.get(number)
        if observer is not None:
            observer.handle(event)
        if isinstance(event, SessionEnded | ObserverDropped):
            self._sessions.pop(number, None)
