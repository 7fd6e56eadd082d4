"""The inspector of a session: reads what a relay has forwarded, and notifies the observers.

It never raises: a defect in reading must harm neither the traffic nor the recording. If the session
core fails, bytes are recorded unread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.plugins.delivery_queue import not_sent
from lbcproxy.proxy.deferred_inspection import DeferredInspection
from lbcproxy.session import (
    Delivery,
    Direction,
    End,
    EndCause,
    LegTransport,
    Lost,
    Observer,
    PacketForm,
    Session,
    SessionInfo,
    SessionSummary,
)
from lbcproxy.session.events import (
    Delivered,
    DirectionClosed,
    NotRecorded,
    SessionEnded,
    SessionEnding,
    SessionEvent,
    SessionReset,
    SessionStarted,
    TransportsAgreed,
    UpstreamConnected,
)
from lbcproxy.session.observer import SessionObservers
from lbcproxy.session.safe_reader import SafeReader
from lbcproxy.transport.kind import Transport

__all__ = ["Inspector"]


class Inspector:
    """Reads one session and notifies its observers.

    Args:
        session: The core that reads what passes.
        observers: The observers of the proxy's sessions, in the order in which they are notified.
        now: Returns the time of day, in nanoseconds since 1970, UTC.
        deferred: Runs the inspection of what was received, a little later.
        inspected: Called after each inspection.
    """

    log = Logger(observer=LOG_FILTER)

    def __init__(
        self,
        session: Session,
        observers: Sequence[Observer],
        now: Callable[[], int],
        deferred: DeferredInspection,
        inspected: Callable[[], object] = bool,
    ) -> None:
        self._session = session
        self._reader = SafeReader(session)
        self._observers = observers
        self._defect: Exception | None = None
        self._now = now
        self._deferred = deferred
        self._inspected = inspected
        self._info: SessionInfo | None = None
        self._end: End | None = None
        self._notified: SessionObservers | None = None
        # Events from before the upstream of the session was known.
        self._pending: list[SessionEvent] = []

    @property
    def info(self) -> SessionInfo:
        """The endpoints of the session; only while it is running."""
        assert self._info is not None
        return self._info

    @property
    def running(self) -> bool:
        """Whether the session has started and not ended."""
        return self._info is not None

    @property
    def end(self) -> End | None:
        """Why the session ends; None while that is not known."""
        return self._end

    @property
    def why(self) -> str:
        """Why the session ends, in words; for display only."""
        return "" if self._end is None else self._end.text

    def started(self, info: SessionInfo, *, upstream_known: bool = True) -> None:
        """Start the session: a client connected.

        If there are several upstreams to try, the observers are notified when one is connected: a
        capture names the upstream with the client's first packet. The events then have the time
        of that moment, because times in a file do not go backwards.
        """
        self._info = info
        self._deferred.run_all()
        self._pending.append(SessionStarted(info, self._now()))
        if self._session.is_unread:
            self._agreed_opaque()
        if upstream_known:
            self._release_pending()

    def connected(self, local: Endpoint, upstream: Endpoint) -> None:
        """Notify that the upstream leg is connected, from `local` to `upstream`; once."""
        self._deferred.run_all()
        if self._info is not None and self._info.local is None:
            self._info = msgspec.structs.replace(self._info, local=local, upstream=upstream)
            self._release_pending()
            self._notify(UpstreamConnected(self._info, self._now()))

    def agreed(self, client: LegTransport, upstream: LegTransport) -> None:
        """Notify how the legs carry messages, unless both are v1."""
        self._deferred.run_all()
        v1 = LegTransport()
        if self._info is not None and (client, upstream) != (v1, v1):
            self._info = msgspec.structs.replace(
                self._info, client_transport=client, upstream_transport=upstream
            )
            self._notify(TransportsAgreed(self._info, self._now()))

    def received(self, direction: Direction, data: bytes) -> None:
        """Have bytes inspected, and notify what they complete."""
        self.received_frames(direction, (data,), len(data))

    def received_frames(self, direction: Direction, frames: Iterable[bytes], size: int) -> None:
        """Do the same with frames of about so many bytes, which are not made before."""
        self._deferred.add(partial(self._receive, direction, frames, size, self._now()), size)

    def read_packet(
        self, direction: Direction, frame: bytes, form: PacketForm, contents: bytes
    ) -> list[Delivery]:
        """Return what the message of an encrypted packet completes, which is not notified yet."""
        self._deferred.run_all()
        return self._reader.receive_packet(direction, frame, self._now(), form, contents)

    def read_untyped(self, direction: Direction, contents: bytes, why: str) -> list[Delivery]:
        """Return the same for the contents of a packet that are no message."""
        self._deferred.run_all()
        if not contents:
            return [Delivery(b"", packet=contents)]
        deliveries = self._session.junk(direction, contents, why, self._now())
        return [Delivery(each.raw, each.entries, packet=contents) for each in deliveries]

    def junk(self, direction: Direction, raw: bytes, why: str) -> None:
        """Notify bytes that are not read and not forwarded."""
        self._deferred.run_all()
        now = self._now()
        read = partial(self._session.junk, direction, raw, why, now)
        self._inspect(direction, read, now, len(raw))

    def pass_unread(self, why: str) -> None:
        """Read nothing from now on, and notify that both legs are opaque."""
        self._deferred.run_all()
        self._session.pass_unread(why)
        self._agreed_opaque()

    def catch_up(self) -> None:
        """Inspect everything that was received before."""
        self._deferred.run_all()

    def release_partial(self) -> None:
        """Free the memory of messages that are not complete yet; they pass unread."""
        self._deferred.run_all()
        now = self._now()
        for direction in Direction:
            self._inspect(direction, partial(self._reader.release_partial, direction, now), now)

    def unsent(self, direction: Direction, data: bytes) -> None:
        """Notify frames of a node that waited to be sent when the session broke off."""
        if data:
            self._deferred.run_all()
            now = self._now()
            self._inspect(direction, partial(self._read_unsent, direction, data, now), now)

    def _read_unsent(self, direction: Direction, data: bytes, now: int) -> list[Delivery]:
        return [not_sent(each) for each in self._reader.receive(direction, data, now)]

    def delivered(self, direction: Direction, deliveries: Sequence[Delivery]) -> None:
        """Notify what passed, if it was inspected before it was sent."""
        now = self._now()
        size = sum(len(each.raw) for each in deliveries)
        self._deferred.add(partial(self._notify_delivered, direction, deliveries, now), size)

    def lost(self, size: int) -> None:
        """Notify that bytes passed of which nothing is known: their reader failed."""
        self._deferred.run_all()
        self._notify_lost(Lost(size=size, why="a defect of lbcproxy"))

    def ending(self, end: End) -> None:
        """Record why the session ends, and notify it; the first reason stays."""
        if self._end is None:
            self._end = end
            self._deferred.run_all()
            if self._info is not None:
                self._notify(SessionEnding(self._info, end, self._now()))

    def finished(self, direction: Direction) -> None:
        """Notify what was left incomplete in a direction, and that its sender closed it."""
        self._finish(direction)
        self._count_memory()
        if self._info is not None:
            self._notify(DirectionClosed(self._info, direction, self._now()))

    def reset(self, sender: Direction) -> None:
        """Notify what was left incomplete in both directions, and which node sent the reset."""
        self.cut()
        if self._info is not None:
            self._notify(SessionReset(self._info, sender, self._now()))

    def cut(self) -> None:
        """Notify what is left incomplete in both directions."""
        for direction in Direction:
            self._finish(direction)

    def ended(self) -> None:
        """Notify that the session is over, why, and what is known of its nodes."""
        self._deferred.run_all()
        if self._info is None:
            return
        self._release_pending()
        summary = SessionSummary(
            info=self._info,
            end=self._end or End(EndCause.FAILURE),
            protocol_version=self._session.protocol_version,
            client=self._session.client.statistics(),
            upstream=self._session.upstream.statistics(),
        )
        if self._notified is not None:
            self._notified.end(SessionEnded(summary, self._now()))
        self._info = None

    def _agreed_opaque(self) -> None:
        opaque = LegTransport(Transport.OPAQUE)
        self.agreed(opaque, opaque)

    def _release_pending(self) -> None:
        """Notify what had to wait until the upstream was known."""
        if self._notified is not None or self._info is None:
            return
        self._notified = SessionObservers(self._observers, self._info, self._failed)
        now = self._now()
        pending, self._pending = self._pending, []
        for event in pending:
            self._notified.handle(_settled(event, self._info, now))

    def _finish(self, direction: Direction) -> None:
        self._deferred.run_all()
        now = self._now()
        self._inspect(direction, partial(self._reader.end, direction, now), now)

    def _receive(self, direction: Direction, frames: Iterable[bytes], size: int, now: int) -> None:
        def read() -> list[Delivery]:
            return self._reader.receive(direction, b"".join(frames), now)

        self._inspect(direction, read, now, size)
        self._count_memory()

    def _count_memory(self) -> None:
        try:
            self._inspected()
        except Exception:
            self._log("session {number}: its memory cannot be counted; traffic goes on")

    def _inspect(
        self,
        direction: Direction,
        read: Callable[[], list[Delivery]],
        now: int,
        size: int = 0,
    ) -> None:
        observers = self._observers if self._notified is None else self._notified
        if self._info is None or not observers:
            return
        try:
            deliveries = read()
        except Exception:  # salvaging needs memory as well
            self._log("session {number}: bytes are neither read nor recorded; traffic goes on")
            self.lost(size)
            return
        if self._session.defect is not self._defect:
            self._defect = self._session.defect
            self.log.failure(
                "session {number}: cannot be read any further, and is recorded unread; "
                "traffic goes on",
                Failure(self._defect),
                number=self._info.number,
            )
        if deliveries:
            self._notify_delivered(direction, deliveries, now)

    def _notify_delivered(
        self, direction: Direction, deliveries: Sequence[Delivery], now: int
    ) -> None:
        if self._info is None:
            return
        self._notify(Delivered(self._info, direction, deliveries, now))
        if self._defect is not None and deliveries[0].unread:
            lacking = sum(each.entries[0].missing for each in deliveries if each.unread)
            self._notify_lost(Lost(size=lacking, why="reading failed"))

    def _notify_lost(self, lost: Lost) -> None:
        if lost and self._info is not None:
            self._notify(NotRecorded(self._info, lost, self._now()))

    def _notify(self, event: SessionEvent) -> None:
        if self._notified is None:
            self._pending.append(event)
        else:
            self._notified.handle(event)

    def _failed(self, observer: Observer) -> None:
        name = type(observer).__name__.lower()
        self._log(f"session {{number}}: no more events for the {name}; traffic goes on")

    def _log(self, words: str) -> None:
        number = self._info.number if self._info is not None else 0
        self.log.failure(words, number=number)


def _settled(event: SessionEvent, info: SessionInfo, now: int) -> SessionEvent:
    """Return an event as it is sent once the upstream is known."""
    if isinstance(event, Delivered):
        return msgspec.structs.replace(event, info=info)
    return msgspec.structs.replace(event, info=info, time_ns=now)
