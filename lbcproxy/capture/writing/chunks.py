"""Chunks: the bytes of deliveries with the notes about them, as the capture writer takes them."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import msgspec

from lbcproxy.capture.ip.segments import MAX_PAYLOAD
from lbcproxy.capture.packet import Leg
from lbcproxy.capture.writing.notes import PacketNote, joined
from lbcproxy.capture.writing.session_state import SessionState
from lbcproxy.session import Delivery, Entry, SessionInfo
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.text import printable

__all__ = [
    "Chunk",
    "chunks_of",
    "end_note",
    "in_packets",
    "is_injected",
    "split_to_fit",
    "transports_note",
    "with_note",
]


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """Bytes that belong together, usually a message, and the note about them, if any."""

    raw: bytes
    note: PacketNote | None = None
    ends: Sequence[int] = ()
    """Where its messages end, if it has several and no note. The last one ends with the chunk."""
    missing: int = 0
    """How many bytes before it are missing, or `UNKNOWN_SIZE`. Such a chunk has a note."""


def split_to_fit(chunks: Sequence[Chunk]) -> Iterable[Chunk]:
    """Split chunks of several messages that are too long for a packet, where messages end."""
    if all(len(chunk.raw) <= MAX_PAYLOAD for chunk in chunks):
        return chunks
    return itertools.chain.from_iterable(map(_split, chunks))


def _split(chunk: Chunk) -> Iterator[Chunk]:
    begin, ends = 0, chunk.ends or (len(chunk.raw),)
    if len(ends) == 1:
        yield chunk
        return
    while begin < len(chunk.raw):
        # The last message that ends in this packet, or one longer than a packet.
        last = bisect.bisect_right(ends, begin + MAX_PAYLOAD) - 1
        last += last < 0 or ends[last] <= begin
        yield Chunk(chunk.raw[begin : ends[last]])
        begin = ends[last]


def in_packets(raw: bytes) -> Iterator[bytes]:
    """Split bytes into packets, without a copy: there may be no memory for all at once."""
    view = memoryview(raw)
    for start in range(0, len(view), MAX_PAYLOAD):
        yield cast("bytes", view[start : start + MAX_PAYLOAD])


def with_note(chunk: Chunk, note: PacketNote) -> list[Chunk]:
    """Return a chunk with a note on its first message, in addition to the one it may have."""
    if chunk.note is not None:
        return [msgspec.structs.replace(chunk, note=joined(note, chunk.note))]
    size = min(chunk.ends[0] if chunk.ends else len(chunk.raw), MAX_PAYLOAD)
    rest = Chunk(chunk.raw[size:], None, [end - size for end in chunk.ends if end > size])
    return [Chunk(chunk.raw[:size], note), *([rest] if rest.raw else [])]


def is_injected(delivery: Delivery) -> bool:
    """Return whether a delivery was injected, so that only one leg has it."""
    return delivery.run is None and any(
        each.verdict == EntryVerdict.INJECT for each in delivery.entries
    )


def chunks_of(deliveries: Sequence[Delivery], *, is_sent: bool) -> list[Chunk]:
    """Return deliveries as chunks with their notes; the end of a long frame has no bytes itself."""
    chunks: list[Chunk] = []
    for delivery in deliveries:
        if delivery.run is not None:
            chunks.append(Chunk(delivery.raw, None, delivery.run.frames.ends))
            continue
        note = _note(delivery.entries[0]) if delivery.entries else None
        raw = delivery.sent if is_sent and delivery.sent is not None else delivery.raw
        if raw:
            chunks.append(Chunk(raw, note))
        elif delivery.entries and delivery.entries[0].missing:
            chunks.append(Chunk(b"", note, missing=delivery.entries[0].missing))
        elif delivery.sent is not None:
            continue  # it is not on this leg
        elif note is not None and chunks:
            chunks[-1] = Chunk(chunks[-1].raw, note)
    return chunks


def end_note(state: SessionState, leg: Leg) -> PacketNote | None:
    """Return the note about why a session ended, which is on its client leg."""
    if state.end is None or leg is not Leg.CLIENT:
        return None
    number = state.info.number
    comment = f"session {number} ended: {printable(state.end.describe())}"
    return PacketNote(comment, {"session": number, "end": state.end.to_dict()})


def transports_note(info: SessionInfo) -> PacketNote:
    """Return the note about how the legs of a session carry messages."""
    comment = f"session {info.number}: {info.transports}"
    return PacketNote(comment, {"session": info.number, "transports": info.transports.to_dict()})


def _note(entry: Entry) -> PacketNote | None:
    """Return the note about an entry, if there is anything to say; nothing is decoded for it."""
    error = entry.why if entry.message is None else entry.message.frame_error
    if entry.continued or (
        error is None
        and entry.verdict == EntryVerdict.PASS
        and not entry.comments
        and not entry.form
    ):
        return None  # a run of junk has one note, at its start
    fields: dict[str, object] = {"session": entry.session, "number": entry.number}
    if entry.verdict != EntryVerdict.PASS:
        fields["verdict"], fields["trail"] = entry.verdict, entry.trail
    if error is not None:
        fields["error"] = error
    if entry.missing:
        fields["missing"] = entry.missing
    if entry.form:
        fields["form"] = entry.form
    if entry.comments:
        fields["comments"] = entry.comments
    parts = [f"#{entry.session}", printable(entry.command) or ("gap" if entry.missing else "junk")]
    parts += [f"v2: {entry.form}"] if entry.form else []
    if entry.verdict != EntryVerdict.PASS:
        parts.append(f"verdict={entry.verdict}")
        parts += [f"by {printable('; '.join(entry.trail))}"] if entry.trail else []
    parts += [f"error={error}"] if error is not None else []
    return PacketNote("\n".join([" ".join(parts), *entry.comments]), fields)
