"""The recorder: an observer that writes sessions to a capture as they happen."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

from lbcproxy.capture.packet import Leg
from lbcproxy.capture.writing.capture_writer import CaptureWriter
from lbcproxy.capture.writing.chunks import (
    Chunk,
    chunks_of,
    end_note,
    in_packets,
    is_injected,
    transports_note,
    with_note,
)
from lbcproxy.capture.writing.notes import PacketNote, joined
from lbcproxy.capture.writing.session_state import SessionState
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Delivery, Direction, SessionInfo
from lbcproxy.session.events import (
    Delivered,
    DirectionClosed,
    ObserverDropped,
    SessionEnded,
    SessionEnding,
    SessionEvent,
    SessionReset,
    SessionStarted,
    TransportsAgreed,
    UpstreamConnected,
)

__all__ = ["LEGS", "Recorder", "SessionRecorder"]

LEGS = ("auto", "client", "both")
"""Which legs a capture holds. `auto` means `client` while nothing can change a message, since the
upstream leg would have the same bytes."""


INGRESS = {Direction.TO_UPSTREAM: Leg.CLIENT, Direction.TO_CLIENT: Leg.UPSTREAM}
"""The leg on which the bytes of a direction are received. They are sent on the other one."""


class Recorder:
    """An observer that writes sessions to a pcapng file, section by section.

    Args:
        write: Called with the bytes of the file, in order.
        network: The network's id.
        legs: One of `LEGS`.
        changes: Whether the bytes sent may differ from those received.
        metadata: More values for the start of the file.
        comments: Comments for the start of the file.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        *,
        network: str,
        legs: str = "auto",
        changes: bool = False,
        metadata: Mapping[str, object] | None = None,
        comments: Sequence[str] = (),
    ) -> None:
        if legs not in LEGS:
            raise ValueError(f"legs {legs!r} is not among {', '.join(LEGS)}")
        self.both_legs = legs == "both" or (legs == "auto" and changes)
        self.changes = changes
        self.writer = CaptureWriter(
            write,
            network=network,
            legs="both" if self.both_legs else "client",
            metadata={"changes": changes, **(metadata or {})},
            comments=comments,
        )
        self.open_sessions: dict[int, SessionRecorder] = {}
        """The sessions that have started and not ended, by number."""

    @property
    def is_idle(self) -> bool:
        """Whether no session is open."""
        return not self.open_sessions

    @property
    def in_message(self) -> bool:
        """Whether any session has an incomplete long message."""
        return any(session.state.inside for session in self.open_sessions.values())

    def session_started(self, info: SessionInfo) -> SessionRecorder:
        """Return what records one session."""
        return SessionRecorder(self, info)

    def take_over(self, other: Recorder, time_ns: int) -> None:
        """Continue the sessions of another recorder, whose file is full."""
        for session in tuple(other.open_sessions.values()):
            session.move_to(self, time_ns)

    def join(
        self, state: SessionState, time_ns: int, *, unrecorded: bool = False
    ) -> SessionRecorder:
        """Record a session that started earlier, from now on.

        It is opened with the version that was negotiated, so that this file can be read alone.
        `unrecorded` says that bytes may be missing since the last file that has the session.
        """
        session = SessionRecorder(self, state.info)
        session.resume(state.copy(), time_ns, unrecorded=unrecorded)
        return session


class SessionRecorder:
    """Writes one session to the file of a recorder."""

    def __init__(self, recorder: Recorder, info: SessionInfo) -> None:
        self.state = SessionState(info)
        self._recorder = recorder
        self._legs: list[Leg] = []
        self._early: list[Chunk] = []
        """What the upstream leg gets once it is open."""
        self._unannounced: set[Leg] = set()
        self._transports_due = False
        """Whether the next packet says how the legs carry messages."""

    @property
    def _number(self) -> int:
        return self.state.info.number

    def handle(self, event: SessionEvent) -> None:
        """Write what happened next."""
        match event:
            case Delivered():
                self.deliver(event.direction, event.deliveries, event.time_ns)
            case SessionStarted():
                self._start(event)
            case UpstreamConnected():
                self._connect(event.info, event.time_ns)
            case TransportsAgreed():
                self.state.transports_agreed(event.info)
                self._transports_due = self.state.has_transports
            case SessionEnding():
                self.state.end = event.end
            case DirectionClosed():
                self._close(event.direction, event.time_ns)
            case SessionReset():
                self._reset(event.direction, event.time_ns)
            case SessionEnded(closed=True):
                # The ends that no node sent: those that the proxy made when it stopped.
                self.state.end = event.summary.end
                for direction in Direction:
                    self._close(direction, event.time_ns)
            case SessionEnded() | ObserverDropped():
                self.leave()

    def move_to(self, recorder: Recorder, time_ns: int) -> None:
        """Continue in the file of another recorder."""
        before, self._recorder = self._recorder, recorder
        before.open_sessions.pop(self._number, None)
        self.resume(self.state, time_ns, before=before.writer)

    def resume(
        self,
        state: SessionState,
        time_ns: int,
        *,
        unrecorded: bool = False,
        before: CaptureWriter | None = None,
    ) -> None:
        """Write the start of a session that began in an earlier file."""
        self.state = state
        more = {"continued": True, "protocol_version": state.protocol_version}
        if unrecorded:
            more["unrecorded"] = True
        ended, state.ended = state.ended, set()
        self._open(time_ns, more, before)
        self._transports_due = state.has_transports
        if state.connected:
            self._connect(state.info, time_ns, before)
        for direction in sorted(ended):
            self._close(direction, time_ns)

    def leave(self) -> None:
        """Write nothing more of the session: it stays open in the file."""
        for leg in self._legs:
            self._recorder.writer.leave(self._number, leg)
        self._forget()

    def _start(self, event: SessionStarted) -> None:
        more = {}
        if not event.from_start:
            more = {"continued": True, "protocol_version": event.protocol_version}
        self.state = SessionState(event.info)
        self._open(event.time_ns, more, None)

    def _open(self, time_ns: int, more: Mapping[str, object], before: CaptureWriter | None) -> None:
        info = self.state.info
        self._recorder.open_sessions[info.number] = self
        self._legs, self._unannounced = [Leg.CLIENT], set()
        fields = {"network": info.network, "upstream": str(info.upstream), **more}
        self._open_leg(Leg.CLIENT, info.client, info.listen, time_ns, fields, before)

    def _open_leg(
        self,
        leg: Leg,
        source: Endpoint,
        target: Endpoint,
        time_ns: int,
        fields: Mapping[str, object],
        before: CaptureWriter | None,
    ) -> None:
        position = None if before is None else before.position(self._number, leg)
        self._recorder.writer.open(self._number, leg, source, target, time_ns, fields, position)

    def _connect(
        self, info: SessionInfo, time_ns: int, before: CaptureWriter | None = None
    ) -> None:
        """Open the upstream leg, if it is recorded."""
        if not self._legs:
            return
        self.state.upstream_connected(info)
        if not self._recorder.both_legs or info.local is None:
            return
        self._legs.append(Leg.UPSTREAM)
        self._open_leg(Leg.UPSTREAM, info.local, info.upstream, time_ns, {}, before)
        writer, direction = self._recorder.writer, Direction.TO_UPSTREAM
        early, self._early = self._early, []
        writer.data(self._number, Leg.UPSTREAM, direction, time_ns, early)
        if direction in self.state.ended:
            writer.finish(self._number, Leg.UPSTREAM, direction, time_ns)

    def deliver(self, direction: Direction, deliveries: Sequence[Delivery], time_ns: int) -> None:
        """Write what was delivered in a direction."""
        if not self._legs or direction in self.state.ended:
            return
        self.state.deliver(direction, deliveries)
        if not self._recorder.both_legs:
            chunks = chunks_of(deliveries, is_sent=self._is_sent(Leg.CLIENT, direction))
            self._write(Leg.CLIENT, direction, time_ns, chunks)
            return
        # Injected messages are only on one leg. Both legs are written up to that point first, to
        # keep the order.
        for _, run in itertools.groupby(deliveries, is_injected):
            together = list(run)
            for leg in self._legs:
                chunks = chunks_of(together, is_sent=self._is_sent(leg, direction))
                self._write(leg, direction, time_ns, chunks)
        if Leg.UPSTREAM not in self._legs:
            is_sent = direction is Direction.TO_UPSTREAM
            self._early.extend(chunks_of(deliveries, is_sent=is_sent))

    def _is_sent(self, leg: Leg, direction: Direction) -> bool:
        """Return whether a leg holds what was sent in a direction, where that differs.

        Without changes the client leg holds everything: also what its transport cannot carry.
        """
        can_differ = leg is Leg.UPSTREAM or self._recorder.changes
        return can_differ and leg is not INGRESS[direction]

    def announce(self) -> None:
        """Write the endpoints of the session again, with what comes next on each of its legs.

        The file may lack the start of the session, and its legs would be read as two sessions.
        """
        self._unannounced.update(self._legs)
        self._transports_due = self.state.has_transports

    def _write(self, leg: Leg, direction: Direction, time_ns: int, chunks: list[Chunk]) -> None:
        if not chunks:
            return
        if leg in self._unannounced and chunks[0].raw:
            self._unannounced.remove(leg)
            chunks[:1] = with_note(chunks[0], self._identity(leg))
        if self._transports_due:
            chunks[:1] = with_note(chunks[0], transports_note(self.state.info))
        self._recorder.writer.data(self._number, leg, direction, time_ns, chunks)
        self._transports_due = False

    def _identity(self, leg: Leg) -> PacketNote:
        info = self.state.info
        fields = {
            "session": info.number,
            "leg": leg.value,
            "network": info.network,
            "upstream": str(info.upstream),
            "continued": True,
            "protocol_version": self.state.protocol_version,
        }
        return PacketNote(f"session {info.number} {leg} leg goes on", fields)

    def deliver_unread(
        self,
        direction: Direction,
        deliveries: Sequence[Delivery],
        time_ns: int,
        relieve: Callable[[], bool],
    ) -> int:
        """Write only the bytes of deliveries, after `deliver` has failed.

        Args:
            direction: Their direction.
            deliveries: What was delivered.
            time_ns: Nanoseconds since 1970.
            relieve: Waits until everything written before is on the disk, which frees memory;
                returns False if it does not get there.

        Returns:
            How many bytes could not be written; the file has a gap there.
        """
        if not self._legs:
            return sum(len(each.raw) for each in deliveries)
        lost, may_wait = 0, True
        writer, number = self._recorder.writer, self._number
        for leg in self._legs:
            is_sent = leg is not INGRESS[direction] and self._recorder.both_legs
            for delivery in deliveries:
                raw = delivery.sent if is_sent and delivery.sent is not None else delivery.raw
                for part in in_packets(raw):
                    chunks = [Chunk(part)]
                    try:
                        writer.data(number, leg, direction, time_ns, chunks)
                        continue
                    except Exception:
                        may_wait = may_wait and relieve()
                    try:
                        writer.data(number, leg, direction, time_ns, chunks)
                    except Exception:
                        lost += len(part)
                        writer.skip(number, leg, direction, len(part))
        return lost

    def _close(self, direction: Direction, time_ns: int) -> None:
        """Write the end of a direction."""
        if not self._legs or direction in self.state.ended:
            return
        self.state.close_direction(direction)
        for leg in self._legs:
            note = self._end_note(leg)
            self._recorder.writer.finish(self._number, leg, direction, time_ns, note)
        if len(self.state.ended) == len(Direction):
            self._forget()

    def _reset(self, direction: Direction, time_ns: int) -> None:
        """Write that the sender of a direction reset its connection."""
        for leg in self._legs:
            note = self._end_note(leg)
            self._recorder.writer.reset(self._number, leg, direction, time_ns, note)
        self._forget()

    def _end_note(self, leg: Leg) -> PacketNote | None:
        """Return the note on the end of a direction of a leg."""
        note = end_note(self.state, leg)
        if self._transports_due:
            self._transports_due = False
            note = joined(transports_note(self.state.info), note)
        return note

    def _forget(self) -> None:
        self._recorder.open_sessions.pop(self._number, None)
        self._legs, self._early, self._unannounced = [], [], set()
