"""ndjson: one JSON object a line. `show -T ndjson -x` prints the messages of it.

The object of a message has `number`. Any other has `event`: `section`, `started`, `connected`,
`transports`, `ending`, `finished`, `reset`, `left` or `lost`. Unknown keys are ignored;
docs/captures.md lists the known ones. `sent` is what was sent in place of a rewritten message, so a
file can hold both legs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from lbcproxy.capture.format import Format, Source
from lbcproxy.capture.formats._ndjson_events import LineReader
from lbcproxy.capture.formats._ndjson_line import JsonLine
from lbcproxy.capture.packet import Section, Statistics
from lbcproxy.capture.tcp.stream_events import AnnotatedEvent
from lbcproxy.errors import CaptureError

__all__ = ["FORMAT", "MAX_LINE", "matches", "read_events"]

MAX_LINE = 144 << 20
"""Bytes of a line: two messages of 32 MiB in hexadecimal, and what is said about them."""
_SHORT_LINE = 1 << 20

_DECODER = msgspec.json.Decoder(JsonLine)


def matches(head: bytes) -> bool:
    """Return whether a file that begins with these bytes has JSON objects in it."""
    return head.lstrip()[:1] == b"{"


def read_events(source: Source) -> Iterator[Section | AnnotatedEvent | Statistics]:
    """Return the events in the lines; CaptureError at the first bad line, with its offset.

    Raises UnknownNetwork for a session that names no network, if none is given.
    """
    reader = LineReader(source.path, source.network)
    for number, (offset, text) in enumerate(_lines_of(source.file), 1):
        try:
            line = _DECODER.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise CaptureError(f"line {number:,} is not understood: {reason}", offset) from None
        try:
            events = list(reader.read(line, offset))
        except ValueError as error:
            raise CaptureError(f"line {number:,}: {error}", offset) from None
        yield from events


def _lines_of(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Return the lines of a file that are not empty, with their offsets."""
    offset = 0
    while line := file.readline(_SHORT_LINE):
        if len(line) == _SHORT_LINE and matches(line):  # a long message, or rubbish
            line += file.readline(MAX_LINE - _SHORT_LINE)
        if len(line) >= _SHORT_LINE and not line.endswith(b"\n") and file.peek(1):  # type: ignore[attr-defined]
            raise CaptureError(f"a line cannot have more than {len(line):,} bytes", offset)
        if line not in (b"\n", b"\r\n"):
            yield offset, line
        offset += len(line)


FORMAT = Format(
    name="ndjson",
    suffixes=(".ndjson", ".jsonl"),
    matches=matches,
    read=read_events,
)
