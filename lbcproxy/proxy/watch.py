"""A watch: looks at what passes a relay and tells the observers. It never raises.

A defect in looking must not harm the traffic: an observer that raises is told no more of the
session, and if the core itself does, nobody is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from twisted.logger import Logger

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer.log import GATE
from lbcproxy.session import (
    Direction,
    Observer,
    Passage,
    Session,
    SessionFacts,
    SessionSummary,
)

__all__ = ["Watch"]


class Watch:
    """One session's observers; `now` is the time of day in nanoseconds."""

    log = Logger(observer=GATE)

    def __init__(
        self, session: Session, observers: Sequence[Observer], now: Callable[[], int]
    ) -> None:
        self._session = session
        self._observers = list(observers)
        self._now = now
        self._facts: SessionFacts | None = None

    @property
    def running(self) -> bool:
        """Whether the session has begun and not ended."""
        return self._facts is not None

    def started(self, facts: SessionFacts) -> None:
        """Begin: a client connected."""
        self._facts = facts
        self._tell(lambda observer, facts, now: observer.started(facts, now))

    def connected(self, local: Endpoint) -> None:
        """Tell that the upstream leg is there, and our address on it."""
        if self._facts is not None:
            self._facts = msgspec.structs.replace(self._facts, local=local)
        self._tell(lambda observer, facts, now: observer.upstream_connected(facts, now))

    def received(self, direction: Direction, data: bytes) -> None:
        """Look at bytes and tell what they complete."""
        self._look(direction, lambda now: self._session.receive(direction, data, now))

    def let_go(self) -> None:
        """Hold no message that is under way any longer; it passes unread."""
        for direction in Direction:
            self._look(direction, lambda now, way=direction: self._session.let_go(way, now))  # type: ignore[misc]

    def passed(self, direction: Direction, passages: Sequence[Passage]) -> None:
        """Tell what passed, where it has been looked at already."""
        self._tell(lambda each, facts, now: each.passed(facts, direction, passages, now))

    def finished(self, direction: Direction) -> None:
        """Tell what was left unfinished in a direction, and that its sender closed it."""
        self._unfinished(direction)
        self._tell(lambda observer, facts, now: observer.finished(facts, direction, now))

    def reset(self, sender: Direction) -> None:
        """Tell what was left unfinished both ways, and who broke off."""
        self.cut()
        self._tell(lambda observer, facts, now: observer.reset(facts, sender, now))

    def cut(self) -> None:
        """Tell what is left unfinished both ways."""
        for direction in Direction:
            self._unfinished(direction)

    def ended(self, why: str) -> None:
        """Tell that the session is over, how, and what is known of its sides."""
        if self._facts is None:
            return
        summary = SessionSummary(
            facts=self._facts,
            why=why,
            protocol_version=self._session.protocol_version,
            client=self._session.client.statistics(),
            upstream=self._session.upstream.statistics(),
        )
        self._tell(lambda observer, _, now: observer.ended(summary, now))
        self._facts = None

    def _unfinished(self, direction: Direction) -> None:
        self._look(direction, lambda now: self._session.end(direction, now))

    def _look(self, direction: Direction, read: Callable[[int], list[Passage]]) -> None:
        if self._facts is None or not self._observers:
            return
        try:
            passages = read(self._now())
        except Exception:
            self._observers.clear()
            self._log("session {number}: cannot be read on, shown or recorded; traffic goes on")
            return
        if passages:
            self._tell(lambda each, facts, now: each.passed(facts, direction, passages, now))

    def _tell(self, tell: Callable[[Observer, SessionFacts, int], None]) -> None:
        if self._facts is None:
            return
        now = self._now()
        for observer in tuple(self._observers):
            try:
                tell(observer, self._facts, now)
            except Exception:
                self._observers.remove(observer)
                name = type(observer).__name__.lower()
                self._log(f"session {{number}}: no more for the {name}; traffic goes on")

    def _log(self, words: str) -> None:
        number = self._facts.number if self._facts is not None else 0
        self.log.failure(words, number=number)
