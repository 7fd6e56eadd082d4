"""What would these plugins have done? A capture through the pipeline, with its own time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from twisted.internet.task import Clock

from lbcproxy import networks
from lbcproxy.capture import Capture
from lbcproxy.capture.session_report import SessionReport
from lbcproxy.endpoint import Endpoint
from lbcproxy.faults import Fault
from lbcproxy.networks import Network
from lbcproxy.plugins.pipeline import Pipeline
from lbcproxy.proxy import Plugins
from lbcproxy.proxy.plugin_host import PluginHost, chain_for
from lbcproxy.session import (
    Delivery,
    Direction,
    End,
    Entry,
    Observer,
    Session,
    SessionInfo,
    SessionObserver,
)
from lbcproxy.session.end import OPEN, SILENT, STOPPED
from lbcproxy.session.events import (
    Delivered,
    DirectionClosed,
    SessionEnding,
    SessionEvent,
    SessionStarted,
    UpstreamConnected,
)
from lbcproxy.session.verdict import EntryVerdict

__all__ = ["offline"]


def offline(
    capture: Capture,
    plugins: Plugins,
    complain: Callable[[str], object],
    *,
    faults: Sequence[Fault] = (),
    seed: int = 0,
    observer: Observer | None = None,
) -> Iterator[Entry]:
    """Return the entries of a capture as they would be with these plugins and faults by message.

    What nodes sent is taken as it came in; what was injected when it was recorded is left out. The
    observer is told of the sessions as of live ones: a `Recorder` so makes another capture.
    """
    run = _Run(capture, plugins, complain, tuple(faults), seed, observer)
    for entry in capture:
        yield from run.take(entry)
    yield from run.finish()


class _Run:
    """All sessions of a capture, on one clock."""

    def __init__(
        self,
        capture: Capture,
        plugins: Plugins,
        complain: Callable[[str], object],
        faults: tuple[Fault, ...],
        seed: int,
        observer: Observer | None,
    ) -> None:
        self.clock = Clock()
        self.out: deque[Entry] = deque()
        self.plugins = plugins
        self.complain = complain
        self.faults = faults
        self.seed = seed
        self.observer = observer
        self.interception = None
        self._capture = capture
        self.ends: dict[int, End] = {}
        """Why the recorded sessions ended, those of which that is known so far."""
        self._told_ended, capture.on_session_ended = capture.on_session_ended, self._ended
        self._began: int | None = None
        self._sessions: dict[int, _Replayed] = {}
        self._number = 0

    def _ended(self, report: SessionReport) -> None:
        self._told_ended(report)
        if report.end not in (OPEN, SILENT):
            self.ends[report.number] = report.end

    def now(self) -> int:
        """Return the capture's time."""
        return (self._began or 0) + round(self.clock.seconds() * 1e9)

    def take(self, entry: Entry) -> Iterator[Entry]:
        """Take what a node sent, when it did."""
        if self._began is None:
            self._began = entry.time_ns
        self.clock.advance(max(0.0, (entry.time_ns - self.now()) / 1e9))
        yield from self._given()
        if entry.verdict == EntryVerdict.INJECT:
            return
        session = self._sessions.get(entry.session) or self._begun(entry)
        if session is None:
            self.out.append(entry)
        else:
            session.take(entry)
        yield from self._given()

    def _begun(self, entry: Entry) -> _Replayed | None:
        """Begin the session of an entry, if its network is known."""
        facts = self._capture.stats.open_sessions.get(entry.session)
        if entry.message is not None:
            network: Any = entry.message.codec.network
        elif facts is not None and facts.network:
            network = networks.get(facts.network)
        else:
            return None
        facts = facts or _unknown(entry.session, network)
        session = self._sessions[entry.session] = _Replayed(self, facts, network)
        return session

    def finish(self) -> Iterator[Entry]:
        """Let pass what is still held."""
        clock: Any = self.clock
        while calls := clock.getDelayedCalls():
            clock.advance(max(0.0, calls[0].getTime() - clock.seconds()))
        for session in self._sessions.values():
            session.finish()
        yield from self._given()

    def _given(self) -> Iterator[Entry]:
        while self.out:
            self._number += 1
            yield msgspec.structs.replace(self.out.popleft(), number=self._number)


class _Replayed:
    """One session; it is what its plugins' host works for."""

    def __init__(self, run: _Run, facts: SessionInfo, network: Network) -> None:
        self.number = facts.number
        self._run = run
        self._facts = facts
        self._observer: SessionObserver | None = None
        if run.observer is not None:
            self._observer = run.observer.session_started(facts)
        self._notify(SessionStarted(facts, run.now()))
        joined = msgspec.structs.replace(facts, local=facts.local or facts.client)
        self._notify(UpstreamConnected(joined, run.now()))
        chain = chain_for(self.number, run, run)
        core = Session(self.number, network, stream_above=None, wanted=chain.commands)
        host = PluginHost(self, run.clock, run.now, run.plugins.limit, run.complain)
        self._pipeline = Pipeline(core, chain, host, run.plugins.policy)
        self._pipeline.start(facts)

    def take(self, entry: Entry) -> None:
        """Take what a node sent, or that something of it is not known."""
        if entry.missing:
            self.tell_passed(entry.direction, [Delivery(b"", (entry,))])
            return
        self._pipeline.receive(entry.direction, entry.raw, entry.time_ns)

    def finish(self) -> None:
        """End it."""
        for direction in Direction:
            self._pipeline.finish(direction, self._run.now())
        self._pipeline.cut(self._run.now())
        self._pipeline.end("the capture ends")
        if (end := self._run.ends.get(self.number)) is not None:
            self._notify(SessionEnding(self._facts, end, self._run.now()))
        for direction in Direction:
            self._notify(DirectionClosed(self._facts, direction, self._run.now()))

    def _notify(self, event: SessionEvent) -> None:
        if self._observer is not None:
            self._observer.handle(event)

    # What the host asks for.

    def send_on(self, direction: Direction, data: bytes) -> None:
        """Nobody is there to get it."""

    def tell_passed(self, direction: Direction, deliveries: Sequence[Delivery]) -> None:
        """Return what passed."""
        self._notify(Delivered(self._facts, direction, deliveries, self._run.now()))
        self._run.out.extend(entry for each in deliveries for entry in each.entries)

    def finish_on(self, direction: Direction) -> None:
        """Nothing."""

    def stop(self, end: End = STOPPED) -> None:
        """The recorded session went on."""

    def hold(self, direction: Direction, held: bool) -> None:
        """Nothing can be held back of what has been."""

    def is_full(self, direction: Direction) -> bool:
        """Nobody reads slowly."""
        return False


def _unknown(number: int, network: Network) -> SessionInfo:
    nobody = Endpoint("", 0)
    return SessionInfo(
        number=number, network=network.id, client=nobody, listen=nobody, upstream=nobody
    )
