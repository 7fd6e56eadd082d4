"""Runs a capture through plugins and faults, on the clock of the capture."""

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
    TransportsAgreed,
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
    """Yield the entries of a capture as they would be with these plugins and message faults.

    Messages that were injected during the recording are left out.

    Args:
        capture: The capture; entries are processed at their recorded time.
        plugins: The plugins to run.
        complain: Called with the text of each plugin failure.
        faults: Faults that apply to messages.
        seed: Seed of the faults' random numbers.
        observer: Notified of the sessions like those of a proxy, such as a `Recorder`.
    """
    run = _OfflineReplay(capture, plugins, complain, tuple(faults), seed, observer)
    for entry in capture:
        yield from run.process(entry)
    yield from run.finish()


class _OfflineReplay:
    """All sessions of a capture on one clock."""

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
        """Why the recorded sessions ended, as far as known yet, by session number."""
        self._previous_callback, capture.on_session_ended = capture.on_session_ended, self._ended
        self._started_ns: int | None = None
        self._sessions: dict[int, _OfflineSession] = {}
        self._number = 0

    def _ended(self, report: SessionReport) -> None:
        self._previous_callback(report)
        if report.end not in (OPEN, SILENT):
            self.ends[report.number] = report.end

    def now(self) -> int:
        """Return the time of the capture in nanoseconds since 1970."""
        return (self._started_ns or 0) + round(self.clock.seconds() * 1e9)

    def process(self, entry: Entry) -> Iterator[Entry]:
        """Process an entry at its recorded time, and yield what the plugins made of it."""
        if self._started_ns is None:
            self._started_ns = entry.time_ns
        self.clock.advance(max(0.0, (entry.time_ns - self.now()) / 1e9))
        yield from self._outputs()
        if entry.verdict == EntryVerdict.INJECT:
            return
        session = self._sessions.get(entry.session) or self._begin_session(entry)
        if session is None:
            self.out.append(entry)
        else:
            session.process(entry)
        yield from self._outputs()

    def _begin_session(self, entry: Entry) -> _OfflineSession | None:
        """Start the session of an entry; return None if its network is unknown."""
        info = self._capture.stats.open_sessions.get(entry.session)
        if entry.message is not None:
            network: Any = entry.message.codec.network
        elif info is not None and info.network:
            network = networks.get(info.network)
        else:
            return None
        info = info or _unknown(entry.session, network)
        session = self._sessions[entry.session] = _OfflineSession(self, info, network)
        return session

    def finish(self) -> Iterator[Entry]:
        """Yield what is still held or delayed."""
        clock: Any = self.clock
        while calls := clock.getDelayedCalls():
            clock.advance(max(0.0, calls[0].getTime() - clock.seconds()))
        for session in self._sessions.values():
            session.finish()
        yield from self._outputs()

    def _outputs(self) -> Iterator[Entry]:
        while self.out:
            self._number += 1
            yield msgspec.structs.replace(self.out.popleft(), number=self._number)


class _OfflineSession:
    """One session: the connection that the plugin host sees."""

    def __init__(self, run: _OfflineReplay, info: SessionInfo, network: Network) -> None:
        self.number = info.number
        self._run = run
        self._info = info
        self._observer: SessionObserver | None = None
        if run.observer is not None:
            self._observer = run.observer.session_started(info)
        self._notify(SessionStarted(info, run.now()))
        joined = msgspec.structs.replace(info, local=info.local or info.client)
        self._notify(UpstreamConnected(joined, run.now()))
        if info.transports:
            self._notify(TransportsAgreed(joined, run.now()))
        chain = chain_for(self.number, run, run)
        core = self._core = Session(
            self.number, network, stream_above=None, buffered_commands=chain.commands
        )
        host = PluginHost(self, run.clock, run.now, run.plugins.limit, run.complain)
        self._pipeline = Pipeline(core, chain, host, run.plugins.policy)
        self._pipeline.start(info)

    def process(self, entry: Entry) -> None:
        """Pass an entry to the pipeline; a gap bypasses it."""
        if entry.missing:
            self.notify_delivered(entry.direction, [Delivery(b"", (entry,))])
            return
        direction, raw, time_ns = entry.direction, entry.raw, entry.time_ns
        if entry.form is None:
            self._pipeline.receive(direction, raw, time_ns)
            return
        for delivery in self._core.receive_packet(direction, raw, time_ns, entry.form):
            self._pipeline.offer(direction, delivery)

    def finish(self) -> None:
        """End the session."""
        for direction in Direction:
            self._pipeline.finish(direction, self._run.now())
        self._pipeline.cut(self._run.now())
        self._pipeline.end("the capture ends")
        if (end := self._run.ends.get(self.number)) is not None:
            self._notify(SessionEnding(self._info, end, self._run.now()))
        for direction in Direction:
            self._notify(DirectionClosed(self._info, direction, self._run.now()))

    def _notify(self, event: SessionEvent) -> None:
        if self._observer is not None:
            self._observer.handle(event)

    # Calls of the host.

    def send_on(self, direction: Direction, data: bytes) -> None:
        """Do nothing: there is no receiver."""

    def notify_delivered(self, direction: Direction, deliveries: Sequence[Delivery]) -> None:
        """Notify the observer of deliveries, and output their entries."""
        self._notify(Delivered(self._info, direction, deliveries, self._run.now()))
        self._run.out.extend(entry for each in deliveries for entry in each.entries)

    def finish_on(self, direction: Direction) -> None:
        """Do nothing: there is no connection."""

    def stop(self, end: End = STOPPED) -> None:
        """Do nothing: the recorded session continued."""

    def hold(self, direction: Direction, held: bool) -> None:
        """Do nothing: a recorded sender cannot be paused."""

    def is_full(self, direction: Direction) -> bool:
        """Return False: there is no slow receiver."""
        return False


def _unknown(number: int, network: Network) -> SessionInfo:
    unknown = Endpoint("", 0)
    return SessionInfo(
        number=number, network=network.id, client=unknown, listen=unknown, upstream=unknown
    )
