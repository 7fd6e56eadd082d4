"""The recorder: an observer that writes sessions to a capture as they happen."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import cast

import msgspec

from lbcproxy.capture.ip.segments import MAX_PAYLOAD
from lbcproxy.capture.packet import Leg
from lbcproxy.capture.writing.capture_writer import CaptureWriter, Note, Piece
from lbcproxy.capture.writing.session_state import Known
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import (
    Delivery,
    Direction,
    End,
    Entry,
    Observer,
    SessionInfo,
    SessionSummary,
)
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.text import printable

__all__ = ["LEGS", "Recorder"]

LEGS = ("auto", "client", "both")
"""Which legs a capture holds. `auto` is `client` as long as nothing can change a message: the
upstream leg would be the same bytes again."""


INGRESS = {Direction.TO_UPSTREAM: Leg.CLIENT, Direction.TO_CLIENT: Leg.UPSTREAM}
"""The leg on which a direction's bytes come in; on the other they go out."""


class Recorder(Observer):
    """Write what is observed to `write`, which takes the bytes of a pcapng file in order.

    `legs` is one of `LEGS`; `changes` tells that what goes out may differ from what came in;
    `metadata` and `comments` are kept at the beginning of the file.
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
        self._both = legs == "both" or (legs == "auto" and changes)
        self._writer = CaptureWriter(
            write,
            network=network,
            legs="both" if self._both else "client",
            metadata={"changes": changes, **(metadata or {})},
            comments=comments,
        )
        self._open: dict[int, Known] = {}
        self._legs: dict[int, list[Leg]] = {}
        self._early: dict[int, list[Piece]] = {}
        self._unsaid: set[tuple[int, Leg]] = set()
        self._before: Recorder | None = None  # whose sessions are taken over now

    @property
    def is_idle(self) -> bool:
        """Whether no session is open."""
        return not self._open

    @property
    def in_message(self) -> bool:
        """Whether a long message has begun, in any session, and not ended."""
        return any(known.inside for known in self._open.values())

    def take_over(self, other: Recorder, time_ns: int) -> None:
        """Go on with the sessions of another, whose file is full."""
        self._before = other
        for number, known in other._open.items():
            self.join(known, time_ns, other._early.get(number, ()))
        self._before = None

    def join(
        self,
        known: Known,
        time_ns: int,
        early: Sequence[Piece] = (),
        *,
        unrecorded: bool = False,
    ) -> None:
        """Go on with a session that has begun before.

        It is opened again, with the version that was agreed, so that this file can be read alone.
        `early` is what the upstream leg has still to get. With `unrecorded` something may have
        passed since the last file that had it.
        """
        facts, number = known.facts, known.facts.number
        more = {"continued": True, "protocol_version": known.protocol_version}
        if unrecorded:
            more["unrecorded"] = True
        self._begin(known.copy(), time_ns, more)
        ended, self._open[number].ended = known.ended, set()
        self._early[number] = list(early)
        if known.connected:
            self.upstream_connected(facts, time_ns)
        for direction in sorted(ended):
            self.finished(facts, direction, time_ns)

    def leave(self, number: int) -> None:
        """Write no more of a session, which goes on: it stays open in the file."""
        for leg in self._legs.get(number, ()):
            self._writer.leave(number, leg)
        self._forget(number)

    def started(self, facts: SessionInfo, time_ns: int) -> None:
        """Open the client leg."""
        self._begin(Known(facts), time_ns, {})

    def continued(self, facts: SessionInfo, protocol_version: int | None, time_ns: int) -> None:
        """Open the client leg of a session of which the beginning is missing."""
        more = {"continued": True, "protocol_version": protocol_version}
        self._begin(Known(facts), time_ns, more)

    def _begin(self, known: Known, time_ns: int, more: Mapping[str, object]) -> None:
        facts = known.facts
        self._open[facts.number] = known
        self._legs[facts.number] = [Leg.CLIENT]
        said = {"network": facts.network, "upstream": str(facts.upstream), **more}
        self._open_leg(Leg.CLIENT, facts.number, facts.client, facts.listen, time_ns, said)

    def _open_leg(
        self,
        leg: Leg,
        number: int,
        source: Endpoint,
        target: Endpoint,
        time_ns: int,
        facts: Mapping[str, object],
    ) -> None:
        before = self._before
        position = None if before is None else before._writer.position(number, leg)
        self._writer.open(number, leg, source, target, time_ns, facts, position)

    def upstream_connected(self, facts: SessionInfo, time_ns: int) -> None:
        """Open the upstream leg, if it is wanted."""
        known = self._open.get(facts.number)
        if known is None:
            return
        known.upstream_connected(facts)
        if not self._both or facts.local is None:
            return
        number, way = facts.number, Direction.TO_UPSTREAM
        self._legs[number].append(Leg.UPSTREAM)
        self._open_leg(Leg.UPSTREAM, number, facts.local, facts.upstream, time_ns, {})
        self._writer.data(number, Leg.UPSTREAM, way, time_ns, self._early.pop(number, ()))
        if way in known.ended:
            self._writer.finish(number, Leg.UPSTREAM, way, time_ns)

    def passed(
        self, facts: SessionInfo, direction: Direction, deliveries: Sequence[Delivery], time_ns: int
    ) -> None:
        """Write what passed."""
        known = self._open.get(facts.number)
        if known is None or direction in known.ended:
            return
        known.passed(direction, deliveries)
        if not self._both:
            pieces = _pieces(deliveries, going_out=direction is Direction.TO_CLIENT)
            self._write(facts.number, Leg.CLIENT, direction, time_ns, pieces)
            return
        # What was injected is on one leg alone: both legs are brought up to date around it, so that
        # the file has the order of what happened.
        for _, run in itertools.groupby(deliveries, _is_injected):
            part = list(run)
            for leg in self._legs[facts.number]:
                pieces = _pieces(part, going_out=leg is not INGRESS[direction])
                self._write(facts.number, leg, direction, time_ns, pieces)
        if Leg.UPSTREAM not in self._legs[facts.number]:
            early = self._early.setdefault(facts.number, [])
            early.extend(_pieces(deliveries, going_out=direction is Direction.TO_UPSTREAM))

    @property
    def open_sessions(self) -> Iterable[int]:
        """The sessions that have begun and not ended."""
        return self._open

    def announce(self, number: int) -> None:
        """Say once more between whom a session is, on what comes next on each of its legs.

        The file may lack its beginning: without that, a reader takes its legs for two sessions.
        """
        self._unsaid.update((number, leg) for leg in self._legs.get(number, ()))

    def _write(
        self, number: int, leg: Leg, direction: Direction, time_ns: int, pieces: list[Piece]
    ) -> None:
        if (number, leg) in self._unsaid and pieces and pieces[0].raw:
            self._unsaid.remove((number, leg))
            pieces[:1] = _with_note(pieces[0], self._who(self._open[number], leg))
        self._writer.data(number, leg, direction, time_ns, pieces)

    @staticmethod
    def _who(known: Known, leg: Leg) -> Note:
        facts = {
            "session": known.facts.number,
            "leg": leg.value,
            "network": known.facts.network,
            "upstream": str(known.facts.upstream),
            "continued": True,
            "protocol_version": known.protocol_version,
        }
        return Note(f"session {known.facts.number} {leg} leg goes on", facts)

    def passed_unread(
        self,
        facts: SessionInfo,
        direction: Direction,
        deliveries: Sequence[Delivery],
        time_ns: int,
        relieve: Callable[[], bool],
    ) -> int:
        """Write the bytes of what passed and nothing else, after writing it all has failed.

        `relieve` waits until what was given before is on the disk, which gives memory back; False
        if it is not. Returns how many bytes could not be written; the file shows a gap there.
        """
        if facts.number not in self._legs:
            return sum(len(each.raw) for each in deliveries)
        lost, may_wait = 0, True
        for leg in self._legs[facts.number]:
            going_out = leg is not INGRESS[direction] and self._both
            for delivery in deliveries:
                raw = delivery.sent if going_out and delivery.sent is not None else delivery.raw
                for part in _in_packets(raw):
                    pieces = [Piece(part)]
                    try:
                        self._writer.data(facts.number, leg, direction, time_ns, pieces)
                        continue
                    except Exception:
                        may_wait = may_wait and relieve()
                    try:
                        self._writer.data(facts.number, leg, direction, time_ns, pieces)
                    except Exception:
                        lost += len(part)
                        self._writer.skip(facts.number, leg, direction, len(part))
        return lost

    def ending(self, facts: SessionInfo, end: End, time_ns: int) -> None:
        """Take note of why the session ends: it is written with the end itself."""
        known = self._open.get(facts.number)
        if known is not None:
            known.end = end

    def finished(self, facts: SessionInfo, direction: Direction, time_ns: int) -> None:
        """Write the end of a direction."""
        known = self._open.get(facts.number)
        if known is None or direction in known.ended:
            return
        known.finished(direction)
        for leg in self._legs[facts.number]:
            self._writer.finish(facts.number, leg, direction, time_ns, _end_note(known, leg))
        if len(known.ended) == len(Direction):
            self._forget(facts.number)

    def reset(self, facts: SessionInfo, direction: Direction, time_ns: int) -> None:
        """Write that a session was broken off."""
        known = self._open.get(facts.number)
        if known is None:
            return
        for leg in self._legs[facts.number]:
            self._writer.reset(facts.number, leg, direction, time_ns, _end_note(known, leg))
        self._forget(facts.number)

    def ended(self, summary: SessionSummary, time_ns: int) -> None:
        """Write the ends that nobody sent: those that the proxy made when it stopped."""
        self.ending(summary.facts, summary.end, time_ns)
        for direction in Direction:
            self.finished(summary.facts, direction, time_ns)

    def left(self, summary: SessionSummary, time_ns: int) -> None:
        """Forget a session that nobody has closed: it stays open in the file."""
        self.leave(summary.facts.number)

    def _forget(self, number: int) -> None:
        self._open.pop(number, None)
        self._unsaid.difference_update((number, leg) for leg in self._legs.pop(number, ()))
        self._early.pop(number, None)


def _in_packets(raw: bytes) -> Iterator[bytes]:
    """Cut bytes to what a packet holds, without a copy: there may be no memory for all at once."""
    view = memoryview(raw)
    for start in range(0, len(view), MAX_PAYLOAD):
        yield cast("bytes", view[start : start + MAX_PAYLOAD])


def _with_note(piece: Piece, note: Note) -> list[Piece]:
    """Put a note to the first message of a piece, beside the one that it may have."""
    if piece.note is not None:
        both = Note(f"{note.comment}; {piece.note.comment}", {**note.facts, **piece.note.facts})
        return [msgspec.structs.replace(piece, note=both)]
    size = min(piece.ends[0] if piece.ends else len(piece.raw), MAX_PAYLOAD)
    rest = Piece(piece.raw[size:], None, [end - size for end in piece.ends if end > size])
    return [Piece(piece.raw[:size], note), *([rest] if rest.raw else [])]


def _is_injected(delivery: Delivery) -> bool:
    return delivery.run is None and any(
        each.verdict == EntryVerdict.INJECT for each in delivery.entries
    )


def _pieces(deliveries: Sequence[Delivery], *, going_out: bool) -> list[Piece]:
    """Put notes to the bytes they are about; what ends a long frame has no bytes of its own."""
    pieces: list[Piece] = []
    for delivery in deliveries:
        if delivery.run is not None:
            pieces.append(Piece(delivery.raw, None, delivery.run.frames.ends))
            continue
        note = _note(delivery.entries[0]) if delivery.entries else None
        raw = delivery.sent if going_out and delivery.sent is not None else delivery.raw
        if raw:
            pieces.append(Piece(raw, note))
        elif delivery.entries and delivery.entries[0].missing:
            pieces.append(Piece(b"", note, missing=delivery.entries[0].missing))
        elif delivery.sent is not None:
            continue  # nothing of it on this leg
        elif note is not None and pieces:
            pieces[-1] = Piece(pieces[-1].raw, note)
    return pieces


def _end_note(known: Known, leg: Leg) -> Note | None:
    """Say why a session ended, on its client leg."""
    if known.end is None or leg is not Leg.CLIENT:
        return None
    number = known.facts.number
    words = f"session {number} ended: {printable(known.end.describe())}"
    return Note(words, {"session": number, "end": known.end.to_dict()})


def _note(entry: Entry) -> Note | None:
    """Say what is remarkable about an entry; nothing is decoded for it."""
    error = entry.why if entry.message is None else entry.message.frame_error
    if entry.continued or (
        error is None and entry.verdict == EntryVerdict.PASS and not entry.comments
    ):
        return None  # a run of junk has one note, at its beginning
    facts: dict[str, object] = {"session": entry.session, "number": entry.number}
    if entry.verdict != EntryVerdict.PASS:
        facts["verdict"], facts["trail"] = entry.verdict, entry.trail
    if error is not None:
        facts["error"] = error
    if entry.missing:
        facts["missing"] = entry.missing
    if entry.comments:
        facts["comments"] = entry.comments
    words = [f"#{entry.session}", printable(entry.command) or ("gap" if entry.missing else "junk")]
    if entry.verdict != EntryVerdict.PASS:
        words.append(f"verdict={entry.verdict}")
        words += [f"by {printable('; '.join(entry.trail))}"] if entry.trail else []
    words += [f"error={error}"] if error is not None else []
    return Note("\n".join([" ".join(words), *entry.comments]), facts)
