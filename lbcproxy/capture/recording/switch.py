"""Recording switched on and off while sessions last: by proxy, by peer, by session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lbcproxy.capture.recording.recording import Recording
from lbcproxy.capture.writing.session_state import Known, from_next_message
from lbcproxy.session import Delivery, Direction, End, Lost, Observer, SessionInfo, SessionSummary

__all__ = ["MAX_PEERS", "Choice", "Switch", "Watched", "is_of"]

MAX_PEERS = 1000
"""Hosts that may have a choice of their own."""


class Choice:
    """What is to be recorded of the sessions to come of a proxy."""

    def __init__(self, on: bool) -> None:
        self.on = on
        self.peers: dict[str, bool] = {}
        """Hosts of which it is otherwise."""

    def of(self, facts: SessionInfo) -> bool:
        """Whether a session that begins is recorded."""
        for host in (facts.client.host, facts.upstream.host):
            if host in self.peers:
                return self.peers[host]
        return self.on


class Watched:
    """A session and whether it is recorded."""

    def __init__(self, facts: SessionInfo, on: bool) -> None:
        self.known = Known(facts)
        self.on = on
        self.over = False
        """Whether it was broken off."""
        self.waiting: set[Direction] = set()
        """Where recording begins behind the message that is under way."""

    def behind(self, direction: Direction, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Give what of it is recorded, where recording was switched on in a message."""
        if direction not in self.waiting:
            return deliveries
        wanted = from_next_message(deliveries)
        if wanted is None:
            return ()
        self.waiting.discard(direction)
        return wanted


class Switch(Observer):
    """Tells a recording of those sessions of a proxy that are to be recorded.

    A session that is switched on in its middle begins in the file as `continued`, with the version
    its nodes had agreed on, behind the messages that are under way. One that is switched off stays
    open in the file. `now` gives nanoseconds since 1970.
    """

    def __init__(self, recording: Recording, choice: Choice, now: Callable[[], int]) -> None:
        self.recording = recording
        self.choice = choice
        self._now = now
        self._sessions: dict[int, Watched] = {}

    @property
    def sessions(self) -> Iterator[Watched]:
        """The sessions there are, recorded or not."""
        return iter(self._sessions.values())

    @property
    def is_idle(self) -> bool:
        """Whether there are none."""
        return not self._sessions

    def turn(self, on: bool, which: Callable[[SessionInfo], bool] = lambda _: True) -> int:
        """Record those sessions that are meant, or do not; how many they are.

        Raises CaptureError if they cannot be recorded.
        """
        meant = [each for each in self._sessions.values() if which(each.known.facts)]
        for each in meant:
            if each.on is not on and not (on and each.over):
                self._turn(each, on)
        return len(meant)

    def turn_all(self, on: bool) -> None:
        """Do it for all, and open the file at once, or close it."""
        if on:
            self.recording.wake()
        self.turn(on)
        if not on:
            self.recording.rest()

    def _turn(self, session: Watched, on: bool) -> None:
        if on:
            known = session.known.copy()
            session.waiting, known.inside = known.inside, set()
            self.recording.join(known, self._now())
        else:
            self.recording.leave(session.known.facts.number)
        session.on = on

    # What is told of sessions.

    def started(self, facts: SessionInfo, time_ns: int) -> None:
        """Record it if that is the choice."""
        session = self._sessions[facts.number] = Watched(facts, self.choice.of(facts))
        if session.on:
            self.recording.started(facts, time_ns)
        else:
            self.recording.expect(facts.number)

    def upstream_connected(self, facts: SessionInfo, time_ns: int) -> None:
        """Record it, or remember it."""
        session = self._sessions.get(facts.number)
        if session is not None:
            session.known.upstream_connected(facts)
            if session.on:
                self.recording.upstream_connected(facts, time_ns)

    def passed(
        self, facts: SessionInfo, direction: Direction, deliveries: Sequence[Delivery], time_ns: int
    ) -> None:
        """Record it, or remember how far it is."""
        session = self._sessions.get(facts.number)
        if session is None:
            return
        if session.on:
            wanted = session.behind(direction, deliveries) if session.waiting else deliveries
            if wanted:
                self.recording.passed(facts, direction, wanted, time_ns)
        session.known.passed(direction, deliveries)

    def ending(self, facts: SessionInfo, end: End, time_ns: int) -> None:
        """Record it, or remember it."""
        session = self._sessions.get(facts.number)
        if session is not None:
            session.known.end = end
            if session.on:
                self.recording.ending(facts, end, time_ns)

    def finished(self, facts: SessionInfo, direction: Direction, time_ns: int) -> None:
        """Record it, or remember it."""
        session = self._sessions.get(facts.number)
        if session is not None:
            session.known.finished(direction)
            session.over = session.over or len(session.known.ended) == len(Direction)
            if session.on:
                self.recording.finished(facts, direction, time_ns)

    def reset(self, facts: SessionInfo, direction: Direction, time_ns: int) -> None:
        """Record it."""
        session = self._sessions.get(facts.number)
        if session is not None:
            session.over = True
            if session.on:
                self.recording.reset(facts, direction, time_ns)

    def ended(self, summary: SessionSummary, time_ns: int) -> None:
        """Record it, and forget the session."""
        session = self._sessions.pop(summary.facts.number, None)
        if session is not None and session.on:
            self.recording.ended(summary, time_ns)
        else:
            self.recording.over(summary.facts.number)

    def missed(self, facts: SessionInfo | None, lost: Lost, time_ns: int) -> None:
        """Count what was to be recorded and is not."""
        session = None if facts is None else self._sessions.get(facts.number)
        if session is None or session.on:
            self.recording.missed(facts, lost, time_ns)

    def gone(self, facts: SessionInfo, time_ns: int) -> None:
        """Forget the session."""
        self._sessions.pop(facts.number, None)
        self.recording.gone(facts, time_ns)


def is_of(host: str) -> Callable[[SessionInfo], bool]:
    """Give what tells sessions with a host at one of their ends."""
    return lambda facts: host in (facts.client.host, facts.upstream.host)
