"""Capture formats that are read, one format a file: to add one, add a file here.

Each module exports `FORMAT`, a `lbcproxy.capture.format.Format`. It only parses: bytes become
packets, or the events of connections. How a format is written is in `lbcproxy.capture.writing`.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lbcproxy import discover
from lbcproxy.capture.compression import SUFFIXES, decompressing, suffix_of
from lbcproxy.capture.format import FileItem, Format, Source
from lbcproxy.capture.packet import Packet, Section
from lbcproxy.errors import CaptureError
from lbcproxy.networks import Network

__all__ = [
    "HEAD_SIZE",
    "RecognisedFile",
    "all_formats",
    "folder_format",
    "format_by_suffix",
    "format_for",
    "format_of",
    "promised_by",
    "read_packets",
    "recognise",
]

HEAD_SIZE = 32
"""How many bytes at the start of a file are enough to recognise its format."""


class RecognisedFile(NamedTuple):
    """A file whose format is known."""

    format: Format
    file: BinaryIO
    """The file from its start; its decompressed content if it is compressed."""
    is_offset_decompressed: Callable[[], bool]
    """Return whether the offset of an error counts bytes of the decompressed content."""

    def read(
        self, path: Path, network: Network | None, not_kept: Counter[str]
    ) -> Iterator[FileItem]:
        """Return the items in the file; CaptureError where it is damaged, after all before that.

        Anything else in the file is counted in `not_kept`, by description.
        """
        return self.format.read(Source(self.file, path, network, not_kept))


def all_formats() -> list[Format]:
    """Return all formats, by name."""
    return discover.entries(__name__, "FORMAT", Format)


def read_packets(file: BinaryIO) -> Iterator[Packet | Section]:
    """Read a capture file of any packet format from the current position, pipes too.

    Statistics are left out.

    Raises:
        CaptureError: At once if the file is not a capture. While reading, where it is damaged,
            after everything before the damage.
    """
    found = recognise(file)
    items = found.read(Path(), None, Counter())
    return (item for item in items if isinstance(item, Packet | Section))


def recognise(file: BinaryIO) -> RecognisedFile:
    """Recognise the format of a file by its first bytes; CaptureError if it is not a capture."""
    head = file.read(HEAD_SIZE)
    rejoined = _rejoin(head, file)
    content = decompressing(head, rejoined)
    if content is None:
        return RecognisedFile(format_of(head), rejoined, lambda: False)
    stream, is_damaged = content
    head = stream.read(HEAD_SIZE)
    return RecognisedFile(format_of(head), _rejoin(head, stream), lambda: not is_damaged())


def format_of(head: bytes) -> Format:
    """Return the format of a file by its first bytes; CaptureError if it is not a capture."""
    if not head:
        raise CaptureError("empty file")
    formats = all_formats()
    for each in formats:
        if each.matches(head):
            return each
    known = ", ".join(each.name for each in formats)
    raise CaptureError(f"not a capture: it begins with {head[:4].hex()}; known formats: {known}")


def folder_format() -> Format:
    """Return the format that is a folder."""
    return next(each for each in all_formats() if each.read_folder is not None)


def format_for(path: Path) -> Format | None:
    """Return the format to write at a path, by its name; None if the name does not say."""
    if path.is_dir():
        return folder_format()
    return format_by_suffix(path.with_suffix("").suffix if suffix_of(path) else path.suffix)


def format_by_suffix(suffix: str) -> Format | None:
    """Return the format with a suffix; None if no format has it."""
    return next((each for each in all_formats() if suffix in each.suffixes), None)


_OTHER_COMPRESSIONS = frozenset((".7z", ".br", ".bz2", ".lz4", ".lzma", ".xz", ".z", ".zip"))
"""Suffixes of compressed files that are neither read nor written."""


def promised_by(path: Path) -> str | None:
    """Return what a file's name promises, a format or a compressed file; None if nothing."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES or suffix in _OTHER_COMPRESSIONS:
        return f"a compressed file ({suffix})"
    if suffix == ".dat":
        return folder_format().name
    found = format_by_suffix(suffix)
    return None if found is None else found.name


class _Rejoined(io.RawIOBase):
    """A file with its first bytes put back, since a pipe cannot be rewound."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head = head
        # Only what is available now: if what follows is damaged, waiting for it would lose this.
        self._read: Callable[[int], bytes] = getattr(file, "read1", file.read)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        data = data or self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _rejoin(head: bytes, file: BinaryIO) -> BinaryIO:
    return io.BufferedReader(_Rejoined(head, file), 1 << 16)
