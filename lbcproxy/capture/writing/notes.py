"""What is said in a capture beside its packets: to people, and as JSON to lbcproxy's reader."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import msgspec

from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.formats.pcapng import SCHEMA
from lbcproxy.capture.writing.pcapng_blocks import build_block, build_options
from lbcproxy.session import Lost

__all__ = ["Note", "comment_of", "custom_of", "lost_block", "note_options"]

_MAX_COMMENT = 65_000
_MAX_JSON = 65_000
_MAX_COUNT = 2**64 - 1


class Note(msgspec.Struct, frozen=True, gc=False):
    """What is said of a piece: to people, and as facts to lbcproxy's reader."""

    comment: str
    facts: Mapping[str, object]


def note_options(note: Note | None) -> bytes:
    """Return the options of a block that say a note; none if there is none."""
    if note is None:
        return b""
    return build_options(
        (pcapng.OPTION_COMMENT, comment_of(note.comment)),
        (pcapng.OPTION_CUSTOM, custom_of(note.facts)),
    )


def lost_block(lost: Lost, time_ns: int, before: int = 0) -> bytes:
    """Return an Interface Statistics Block that says it: capinfos and Wireshark count it.

    `before` is how much earlier blocks of the section say: other programs want the sum.
    """
    body = struct.pack("<III", 0, time_ns >> 32 & 0xFFFFFFFF, time_ns & 0xFFFFFFFF)
    dropped = struct.pack("<Q", min(before + (lost.messages or lost.packets), _MAX_COUNT))
    comment = f"{lost.description} before this" + (f": {lost.why}" if lost.why else "")
    note = note_options(Note(comment, {"lost": lost}))
    said = note + build_options((pcapng.OPTION_DROPPED, dropped))
    return build_block(pcapng.STATISTICS, body + said + bytes(4))


def comment_of(text: str) -> bytes:
    """Return text for people, cut to what an option may hold."""
    cut = text.encode(errors="backslashreplace")[:_MAX_COMMENT]
    return cut.decode(errors="ignore").encode()


def custom_of(facts: Mapping[str, object]) -> bytes:
    """Return facts for the reader.

    An option holds 64 KiB. Of more, the longest values are left out and named under `omitted`:
    a recording must not stop because somebody gave a very long reason.
    """
    everything = {"schema": SCHEMA, **facts}
    text = msgspec.json.encode(everything)
    if len(text) > _MAX_JSON:
        text = _shortened(everything)
    return pcapng.PEN.to_bytes(4, "little") + text


def _shortened(facts: dict[str, object]) -> bytes:
    omitted: list[str] = []
    facts = {**facts, "omitted": omitted}
    lengths = {key: len(msgspec.json.encode(value)) for key, value in facts.items()}
    by_length = sorted(lengths.keys() - {"schema", "omitted"}, key=lambda key: lengths[key])
    while by_length and len(msgspec.json.encode(facts)) > _MAX_JSON:
        longest = by_length.pop()
        del facts[longest]
        omitted.append(longest[:100])
    return msgspec.json.encode(facts)
