"""Switches recording on and off while sessions last: by proxy, by peer, by session."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from lbcproxy.capture.recording.recording import RecordedSession, Recording
from lbcproxy.capture.writing.session_state import SessionState, from_next_message
from lbcproxy.deprecated import renamed_parameters
from lbcproxy.session import Direction, SessionInfo
from lbcproxy.session.events import (
    Delivered,
    ObserverDropped,
    SessionEnded,
    SessionEvent,
    SessionReset,
)

__all__ = ["MAX_PEERS", "Choice", "Switch", "SwitchedSession", "involves_host"]

MAX_PEERS = 1000
"""How many hosts may have a choice of their own."""


class Choice:
    """Which future sessions of a proxy are recorded."""

    def __init__(self, on: bool) -> None:
        self.on = on
        self.peers: dict[str, bool] = {}
        """Hosts with a choice of their own."""

    @renamed_parameters(facts="info")
    def of(self, info: SessionInfo) -> bool:
        """Return whether a session that begins is recorded."""
        for host in (info.client.host, info.upstream.host):
            if host in self.peers:
                return self.peers[host]
        return self.on


class Switch:
    """An observer that records the sessions of a proxy that are switched on.

    A session that is switched on later begins in the file as `continued`, with the version its
    nodes had negotiated, after the messages that are incomplete. One that is switched off
    stays open in the file. `now` returns nanoseconds since 1970.
    """

    def __init__(self, recording: Recording, choice: Choice, now: Callable[[], int]) -> None:
        self.recording = recording
        self.choice = choice
        self._now = now
        self._sessions: dict[int, SwitchedSession] = {}

    @property
    def sessions(self) -> Iterator[SwitchedSession]:
        """The open sessions, recorded or not."""
        return iter(self._sessions.values())

    @property
    def is_idle(self) -> bool:
        """Whether there are no sessions."""
        return not self._sessions

    def session_started(self, info: SessionInfo) -> SwitchedSession:
        """Return what records one session while it is switched on."""
        on = self.choice.of(info)
        session = SwitchedSession(info, self.recording.session_started(info), on, self.forget)
        self._sessions[info.number] = session
        return session

    def forget(self, number: int) -> None:
        """Forget a session that is over."""
        self._sessions.pop(number, None)

    def turn(self, on: bool, which: Callable[[SessionInfo], bool] = lambda _: True) -> int:
        """Switch sessions on or off; return how many match.

        Raises:
            CaptureError: If they cannot be recorded.
        """
        matching = [each for each in self._sessions.values() if which(each.info)]
        for session in matching:
            session.turn(on, self._now)
        return len(matching)

    def turn_all(self, on: bool) -> None:
        """Switch all sessions, and open the file at once or close it."""
        if on:
            self.recording.wake()
        self.turn(on)
        if not on:
            self.recording.rest()


class SwitchedSession:
    """One session, and whether it is recorded."""

    def __init__(
        self,
        info: SessionInfo,
        recording: RecordedSession,
        on: bool,
        forget: Callable[[int], object],
    ) -> None:
        self.on = on
        self._state = SessionState(info)
        self._recording = recording
        self._forget = forget
        self._is_over = False
        """Whether both directions are closed, or it was reset."""
        self._waiting: set[Direction] = set()
        """The directions in which recording begins after an incomplete message."""

    @property
    def info(self) -> SessionInfo:
        """The endpoints of the session."""
        return self._state.info

    @property
    def file_name(self) -> str | None:
        """The name of the file that it is recorded to; None if it is not."""
        return self._recording.file_name if self.on else None

    def turn(self, on: bool, now: Callable[[], int]) -> None:
        """Record it from now on, or stop."""
        if self.on is on or (on and self._is_over):
            return
        if on:
            state = self._state.copy()
            self._waiting, state.inside = state.inside, set()
            self._recording.join(state, now())
        else:
            self._recording.leave()
        self.on = on

    def handle(self, event: SessionEvent) -> None:
        """Record what happened next, or remember how far the session is."""
        match event:
            case Delivered():
                if self.on:
                    self._deliver(event)
                self._state.deliver(event.direction, event.deliveries)
            case SessionEnded() | ObserverDropped():
                self._forget(self.info.number)
                if self.on or isinstance(event, ObserverDropped):
                    self._recording.handle(event)
                else:
                    self._recording.forget()
            case _:
                self._state.follow(event)
                both_closed = len(self._state.ended) == len(Direction)
                self._is_over = self._is_over or both_closed or isinstance(event, SessionReset)
                if self.on:
                    self._recording.handle(event)

    def _deliver(self, event: Delivered) -> None:
        if event.direction in self._waiting:
            deliveries = from_next_message(event.deliveries)
            if deliveries is None:
                return
            self._waiting.discard(event.direction)
            event = msgspec.structs.replace(event, deliveries=deliveries)
        if event.deliveries:
            self._recording.handle(event)


def involves_host(host: str) -> Callable[[SessionInfo], bool]:
    """Return a function that tells whether a host is at one of the ends of a session."""
    return lambda info: host in (info.client.host, info.upstream.host)
