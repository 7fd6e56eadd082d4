"""ndjson: one JSON object a line, what `show -T ndjson -x` prints and what holds the rest.

A message's object has `number`; of the others `event` says what they are: `section`, `started`,
`connected`, `ending`, `finished`, `reset`, `left`, `lost`. Keys that are not known are passed over.
docs/captures.md lists them all. With `sent` it holds what went out in place of a message, so
both legs are in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import msgspec

from lbcproxy.capture.formats import _lines
from lbcproxy.capture.packet import Section, Statistics
from lbcproxy.capture.tcp.stream_events import Happened
from lbcproxy.errors import CaptureError
from lbcproxy.networks import Network
from lbcproxy.session import UNKNOWN_SIZE

if TYPE_CHECKING:
    from lbcproxy.capture.writing.writer import Writer

__all__ = ["NAME", "SUFFIXES", "Line", "happened", "matches", "writer"]

NAME = "ndjson"
SUFFIXES = (".ndjson", ".jsonl")

MOST_LINE = 144 << 20
"""Bytes of a line: two messages of 32 MiB, each byte two digits, and what is said of them."""
_SHORT = 1 << 20

Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
Large = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
Lost = Annotated[int, msgspec.Meta(ge=UNKNOWN_SIZE, lt=1 << 31)]


class Line(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is read of a line; hexadecimal where bytes are meant."""

    event: str | None = None
    time: str | None = None
    number: int | None = None
    session: Count | None = None
    direction: str | None = None
    command: str | None = None
    length: Count | None = None
    verdict: str = "pass"
    trail: tuple[str, ...] = ()
    missing: Lost = 0
    payload: str | None = None
    header: str | None = None
    """Of the frame, where it is not what command and payload imply."""
    sent: str | None = None
    """What went out in place of a rewritten message."""
    network: str | None = None
    client: str | None = None
    listen: str | None = None
    upstream: str | None = None
    local: str | None = None
    end: dict[str, Any] = {}
    """Why a session ended."""
    begun: bool = True
    protocol_version: Count | None = None
    legs: str = "client"
    changes: bool = False
    metadata: dict[str, msgspec.Raw] = {}
    comments: tuple[str, ...] = ()
    messages: Large = 0
    bytes: Large = 0
    packets: Large = 0
    """How much is missing."""
    why: str = ""


_DECODER = msgspec.json.Decoder(Line)


def matches(head: bytes) -> bool:
    """Whether a file that begins so is one of JSON objects."""
    return head.lstrip()[:1] == b"{"


def happened(
    file: BinaryIO, path: Path, network: Network | None
) -> Iterator[Section | Happened | Statistics]:
    """Give what the lines tell; CaptureError at the first that is wrong, with its offset.

    `network` is that of sessions whose beginning is not told; raises UnknownNetwork without.
    """
    telling = _lines.Telling(path, network)
    for number, (offset, text) in enumerate(_lines_of(file), 1):
        try:
            line = _DECODER.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            words = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise CaptureError(f"line {number:,} is not understood: {words}", offset) from None
        try:
            told = list(telling.take(line, offset))
        except ValueError as error:
            raise CaptureError(f"line {number:,}: {error}", offset) from None
        yield from told


def writer(write: Callable[[bytes], object]) -> Writer:
    """Give what writes lines: they hold all that there is."""
    from lbcproxy.capture.writing.ndjson import AsLines  # which stands on other formats

    return AsLines(write, MOST_LINE)


def _lines_of(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Cut a file into lines that are not empty, with their offsets."""
    offset = 0
    while line := file.readline(_SHORT):
        if len(line) == _SHORT and matches(line):  # a long message, or nothing good
            line += file.readline(MOST_LINE - _SHORT)
        if len(line) >= _SHORT and not line.endswith(b"\n") and file.peek(1):  # type: ignore[attr-defined]
            raise CaptureError(f"a line of more than {len(line):,} bytes cannot be", offset)
        if line not in (b"\n", b"\r\n"):
            yield offset, line
        offset += len(line)
