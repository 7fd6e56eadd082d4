"""Notes in a capture, about its packets: a comment for people, and JSON for lbcproxy's reader."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import msgspec

from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.formats.pcapng import SCHEMA
from lbcproxy.capture.writing.pcapng_blocks import build_block, build_options
from lbcproxy.session import Lost

__all__ = ["PacketNote", "comment_of", "custom_of", "joined", "lost_block", "note_options"]

_MAX_COMMENT = 65_000
_MAX_JSON = 65_000
_MAX_COUNT = 2**64 - 1


class PacketNote(msgspec.Struct, frozen=True, gc=False):
    """What a note says: a comment for people, and fields for lbcproxy's reader."""

    comment: str
    fields: Mapping[str, object]


def joined(first: PacketNote | None, second: PacketNote | None) -> PacketNote | None:
    """Return two notes as one."""
    if first is None or second is None:
        return second if first is None else first
    return PacketNote(f"{first.comment}; {second.comment}", {**first.fields, **second.fields})


def note_options(note: PacketNote | None) -> bytes:
    """Return the options of a block that hold a note; empty without a note."""
    if note is None:
        return b""
    return build_options(
        (pcapng.OPTION_COMMENT, comment_of(note.comment)),
        (pcapng.OPTION_CUSTOM, custom_of(note.fields)),
    )


def lost_block(lost: Lost, time_ns: int, before: int = 0) -> bytes:
    """Return an Interface Statistics Block that says what is lost, for capinfos and Wireshark too.

    Args:
        lost: What could not be recorded.
        time_ns: Nanoseconds since 1970.
        before: The count in earlier blocks of the section: other programs expect the sum.
    """
    body = struct.pack("<III", 0, time_ns >> 32 & 0xFFFFFFFF, time_ns & 0xFFFFFFFF)
    dropped = struct.pack("<Q", min(before + (lost.messages or lost.packets), _MAX_COUNT))
    comment = f"{lost.description} before this" + (f": {lost.why}" if lost.why else "")
    note = note_options(PacketNote(comment, {"lost": lost}))
    options = note + build_options((pcapng.OPTION_DROPPED, dropped))
    return build_block(pcapng.STATISTICS, body + options + bytes(4))


def comment_of(text: str) -> bytes:
    """Return a comment, cut to what an option can hold."""
    cut = text.encode(errors="backslashreplace")[:_MAX_COMMENT]
    return cut.decode(errors="ignore").encode()


def custom_of(fields: Mapping[str, object]) -> bytes:
    """Return the value of a custom option with fields.

    An option holds 64 KiB. If that is not enough, the longest values are left out and their keys
    listed under `omitted`: a very long reason must not stop a recording.
    """
    everything = {"schema": SCHEMA, **fields}
    text = msgspec.json.encode(everything)
    if len(text) > _MAX_JSON:
        text = _shortened(everything)
    return pcapng.PEN.to_bytes(4, "little") + text


def _shortened(fields: dict[str, object]) -> bytes:
    omitted: list[str] = []
    fields = {**fields, "omitted": omitted}
    lengths = {key: len(msgspec.json.encode(value)) for key, value in fields.items()}
    by_length = sorted(lengths.keys() - {"schema", "omitted"}, key=lambda key: lengths[key])
    while by_length and len(msgspec.json.encode(fields)) > _MAX_JSON:
        longest = by_length.pop()
        del fields[longest]
        omitted.append(longest[:100])
    return msgspec.json.encode(fields)
