"""A watch: looks at what passes a relay and tells the observers. It never raises.

A defect in looking must not harm the traffic, nor what is recorded of it. If the core fails,
bytes pass unread. An observer that fails is told no more of what passes, but how much it was not
told, and when the session is over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer.log import GATE
from lbcproxy.proxy.deferred_inspection import DeferredInspection
from lbcproxy.session import (
    Delivery,
    Direction,
    End,
    EndCause,
    Lost,
    Observer,
    Session,
    SessionInfo,
    SessionSummary,
)
from lbcproxy.session.salvage import SafeReading

__all__ = ["Inspector"]

Tell = Callable[[Observer, SessionInfo, int], None]
NOTHING = Lost()


class Inspector:
    """One session's observers; `now` is the time of day in nanoseconds.

    What it receives it looks at when `looks` has it do so; `looked` is told each time.
    """

    log = Logger(observer=GATE)

    def __init__(
        self,
        session: Session,
        observers: Sequence[Observer],
        now: Callable[[], int],
        looks: DeferredInspection,
        looked: Callable[[], object] = bool,
    ) -> None:
        self._session = session
        self._safe = SafeReading(session)
        self._observers = list(observers)
        self._failed: list[Observer] = []
        self._defect: Exception | None = None
        self._now = now
        self._looks = looks
        self._looked = looked
        self._facts: SessionInfo | None = None
        self._end: End | None = None
        # What is told when it is known where the session leads; None when it is.
        self._untold: list[tuple[Tell, Lost]] | None = None

    @property
    def facts(self) -> SessionInfo:
        """Between whom the session is; only while it is running."""
        assert self._facts is not None
        return self._facts

    @property
    def running(self) -> bool:
        """Whether the session has begun and not ended."""
        return self._facts is not None

    @property
    def end(self) -> End | None:
        """Why the session ends; None while that is not known."""
        return self._end

    @property
    def why(self) -> str:
        """The same in words; only to be shown."""
        return "" if self._end is None else self._end.text

    def started(self, facts: SessionInfo, *, settled: bool = True) -> None:
        """Begin: a client connected.

        If the upstream may be another than the facts have it, all is told when that is known: a
        capture says it with the client's first packet. Its times are then of that moment, since
        those of a file do not go back.
        """
        self._facts = facts
        self._untold = None if settled else []
        self._tell(lambda observer, facts, now: observer.started(facts, now))

    def connected(self, local: Endpoint, upstream: Endpoint) -> None:
        """Tell that the upstream leg is there, our address on it, and where it leads."""
        self._looks.catch_up()
        if self._facts is not None:
            self._facts = msgspec.structs.replace(self._facts, local=local, upstream=upstream)
        self._settle()
        self._tell(lambda observer, facts, now: observer.upstream_connected(facts, now))

    def received(self, direction: Direction, data: bytes) -> None:
        """Have bytes looked at, and told what they complete."""
        self._looks.put(partial(self._receive, direction, data, self._now()), len(data))

    def catch_up(self) -> None:
        """Look at all that came before."""
        self._looks.catch_up()

    def let_go(self) -> None:
        """Hold no message that is under way any longer; it passes unread."""
        self._looks.catch_up()
        now = self._now()
        for direction in Direction:
            self._look(direction, partial(self._safe.let_go, direction, now), now)

    def passed(self, direction: Direction, deliveries: Sequence[Delivery]) -> None:
        """Tell what passed, where it has been looked at already."""
        now = self._now()
        size = sum(len(each.raw) for each in deliveries)
        self._looks.put(partial(self._tell_passed, direction, deliveries, now), size)

    def lost(self, size: int) -> None:
        """Tell that bytes came of which nothing is known: whoever should have read them failed."""
        self._looks.catch_up()
        self._tell_lost(Lost(size=size, why="a defect of lbcproxy"))

    def ending(self, end: End) -> None:
        """Take note of why the session ends, and tell it; of several reasons the first stays."""
        if self._end is None:
            self._end = end
            self._tell(lambda observer, facts, now: observer.ending(facts, end, now))

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

    def ended(self) -> None:
        """Tell that the session is over, why, and what is known of its sides."""
        self._looks.catch_up()
        if self._facts is None:
            return
        self._settle()
        summary = SessionSummary(
            facts=self._facts,
            end=self._end or End(EndCause.FAILURE),
            protocol_version=self._session.protocol_version,
            client=self._session.client.statistics(),
            upstream=self._session.upstream.statistics(),
        )
        self._tell(lambda observer, _, now: observer.ended(summary, now))
        for observer in self._failed:
            with suppress(Exception):
                observer.gone(self._facts, self._now())
        self._facts = None

    def _settle(self) -> None:
        untold, self._untold = self._untold, None
        now = self._now()
        for tell, lost in untold or ():
            self._tell_all(tell, now, lost)

    def _unfinished(self, direction: Direction) -> None:
        self._looks.catch_up()
        now = self._now()
        self._look(direction, partial(self._safe.end, direction, now), now)

    def _receive(self, direction: Direction, data: bytes, now: int) -> None:
        self._look(direction, partial(self._safe.receive, direction, data, now), now, data)
        try:
            self._looked()
        except Exception:
            self._log("session {number}: what it holds cannot be counted; traffic goes on")

    def _look(
        self,
        direction: Direction,
        read: Callable[[], list[Delivery]],
        now: int,
        data: bytes = b"",
    ) -> None:
        if self._facts is None or not (self._observers or self._failed):
            return
        try:
            deliveries = read()
        except Exception:  # memory may be short for that as well
            self._log("session {number}: bytes are neither read nor recorded; traffic goes on")
            self.lost(len(data))
            return
        if self._session.defect is not self._defect:
            self._defect = self._session.defect
            self.log.failure(
                "session {number}: cannot be read on, and is recorded unread; traffic goes on",
                Failure(self._defect),
                number=self._facts.number,
            )
        if deliveries:
            self._tell_passed(direction, deliveries, now)

    def _tell_passed(self, direction: Direction, deliveries: Sequence[Delivery], now: int) -> None:
        def tell(observer: Observer, facts: SessionInfo, _: int) -> None:
            observer.passed(facts, direction, deliveries, now)

        lost = Lost(
            messages=sum(len(each.entries) for each in deliveries),
            size=sum(len(each.raw) for each in deliveries),
            why="a defect of lbcproxy",
        )
        self._tell_all(tell, now, lost)
        if self._defect is not None and deliveries[0].unread:
            lacking = sum(each.entries[0].missing for each in deliveries if each.unread)
            self._tell_lost(Lost(size=lacking, why="reading failed"))

    def _tell(self, tell: Tell) -> None:
        self._looks.catch_up()
        self._tell_all(tell, self._now())

    def _tell_lost(self, lost: Lost) -> None:
        if lost:
            self._tell_all(
                lambda each, facts, now: each.missed(facts, lost, now), self._now(), lost
            )

    def _tell_all(self, tell: Tell, now: int, lost: Lost = NOTHING) -> None:
        """Tell all observers; `lost` is what those that fail, or have failed, do not get."""
        if self._facts is None:
            return
        if self._untold is not None:
            self._untold.append((tell, lost))
            return
        for observer in tuple(self._observers):
            try:
                tell(observer, self._facts, now)
            except Exception:
                self._observers.remove(observer)
                self._failed.append(observer)
                name = type(observer).__name__.lower()
                self._log(f"session {{number}}: no more for the {name}; traffic goes on")
        for observer in self._failed if lost else ():
            with suppress(Exception):
                observer.missed(self._facts, lost, now)

    def _log(self, words: str) -> None:
        number = self._facts.number if self._facts is not None else 0
        self.log.failure(words, number=number)
