"""What is said in a capture beside its packets: to people, and as JSON to lbcproxy's reader."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lbcproxy.capture.formats import pcapng

__all__ = ["SCHEMA", "Note", "comment_of", "custom_of", "note_options"]

SCHEMA = "lbcproxy/1"
_MAX_COMMENT = 65_000
_MAX_JSON = 65_000


class Note(msgspec.Struct, frozen=True, gc=False):
    """What is said of a piece: to people, and as facts to lbcproxy's reader."""

    comment: str
    facts: Mapping[str, object]


def note_options(note: Note | None) -> bytes:
    """Return the options of a block that say a note; none if there is none."""
    if note is None:
        return b""
    return pcapng.options(
        (pcapng.OPTION_COMMENT, comment_of(note.comment)),
        (pcapng.OPTION_CUSTOM, custom_of(note.facts)),
    )


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
