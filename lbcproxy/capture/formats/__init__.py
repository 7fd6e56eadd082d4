"""Capture files, one format a file: to add a format is to add a file here.

A format has `NAME`, `SUFFIXES` and `matches(head)`, which knows a file by its first bytes. It gives
what is in a file one after another and holds one piece of it at a time: a format of packets by
`read(file)`, and if it may hold more than those, as comments, by `read_counting(file, not_kept)`;
one of messages by `happened(file, path, network)`, which gives what TCP would have made of packets:
`Section`s and `Happened`s. One that can be written has `writer(write)`, which gives an observer
that is told what happened (`_writer.py`). One that is a folder of files has `in_folder(path,
network)` and `folder_writer(path)`. One that can be repaired has `stretches(file)`, which tells
what of a file is whole.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, NamedTuple, cast

from lbcproxy import discover
from lbcproxy.capture.formats._packed import PACKINGS, packed, unpacked
from lbcproxy.capture.packet import Packet, Section, Statistics
from lbcproxy.capture.tcp.stream_events import Happened
from lbcproxy.errors import CaptureError
from lbcproxy.networks import Network

__all__ = [
    "HEAD",
    "Item",
    "Recognised",
    "folder_format",
    "format_by_suffix",
    "format_for",
    "format_of",
    "packed",
    "packing_of",
    "promised_by",
    "read_packets",
    "recognise",
    "writable",
]

HEAD = 32
"""Bytes of a file that tell its format."""

Item = Packet | Section | Happened | Statistics


class Recognised(NamedTuple):
    """A file whose format is known."""

    form: ModuleType
    file: BinaryIO
    """As it was before it was looked at; what is in it, if it is packed."""
    is_unpacked: Callable[[], bool]
    """Whether a place in it is one of what is packed in the file."""

    def read(self, path: Path, network: Network | None, not_kept: Counter[str]) -> Iterator[Item]:
        """Give what is in it; CaptureError where it is damaged, after all before that.

        What stands in it besides is counted in `not_kept`, in words.
        """
        if hasattr(self.form, "read_counting"):
            return cast("Iterator[Item]", self.form.read_counting(self.file, not_kept))
        if hasattr(self.form, "read"):
            return cast("Iterator[Item]", self.form.read(self.file))
        return cast("Iterator[Item]", self.form.happened(self.file, path, network))


def read_packets(file: BinaryIO) -> Iterator[Packet | Section]:
    """Read a capture file of any format of packets from where it stands, pipes too.

    What it says of packets that it lacks is left out.

    Raises CaptureError at once if it is no capture, and while reading where it is damaged, after
    everything before the damage was given.
    """
    found = recognise(file)
    items: Iterator[Packet | Section | Statistics] = found.form.read(found.file)
    return (item for item in items if not isinstance(item, Statistics))


def recognise(file: BinaryIO) -> Recognised:
    """Tell the format of a file by its first bytes; CaptureError if it is no capture."""
    head = file.read(HEAD)
    whole = _rejoined(head, file)
    inside = unpacked(head, whole)
    if inside is None:
        return Recognised(format_of(head), whole, lambda: False)
    whole, is_damaged = inside
    head = whole.read(HEAD)
    return Recognised(format_of(head), _rejoined(head, whole), lambda: not is_damaged())


def format_of(head: bytes) -> ModuleType:
    """Give the format of a file by its first bytes; CaptureError if it is no capture."""
    if not head:
        raise CaptureError("empty file")
    formats = discover.entries(__name__)
    for entry in formats:
        if entry.matches(head):
            return entry
    known = ", ".join(entry.NAME for entry in formats)
    raise CaptureError(f"not a capture: it begins with {head[:4].hex()}; understood are {known}")


def folder_format() -> ModuleType:
    """Give the format that is a folder."""
    return next(each for each in discover.entries(__name__) if hasattr(each, "in_folder"))


def writable() -> dict[str, ModuleType]:
    """Give the formats that can be written, by name."""
    formats = discover.entries(__name__)
    return {
        each.NAME: each
        for each in formats
        if hasattr(each, "writer") or hasattr(each, "folder_writer")
    }


def packing_of(path: Path) -> str:
    """Give the suffix that says how a file is to be packed; empty if it is not."""
    return path.suffix if path.suffix in PACKINGS else ""


def format_for(path: Path) -> ModuleType | None:
    """Give the format that a file to be written has by its name; None if that tells nothing."""
    if path.is_dir():
        return folder_format()
    return format_by_suffix(path.with_suffix("").suffix if packing_of(path) else path.suffix)


def format_by_suffix(suffix: str) -> ModuleType | None:
    """Return the format that a suffix stands for; None if it stands for none."""
    return next((each for each in discover.entries(__name__) if suffix in each.SUFFIXES), None)


_OTHER_COMPRESSIONS = frozenset((".7z", ".br", ".bz2", ".lz4", ".lzma", ".xz", ".z", ".zip"))
"""Suffixes of compressed files that are neither read nor written."""


def promised_by(path: Path) -> str | None:
    """Return what a file's name promises, a format or that it is compressed; None if nothing."""
    suffix = path.suffix.lower()
    if suffix in PACKINGS or suffix in _OTHER_COMPRESSIONS:
        return f"a compressed file ({suffix})"
    if suffix == ".dat":
        return str(folder_format().NAME)
    form = format_by_suffix(suffix)
    return None if form is None else str(form.NAME)


class _Rejoined(io.RawIOBase):
    """A file with its first bytes put back, since a pipe cannot be wound back."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head = head
        # What is there: waiting for more would lose it, if what comes next is damaged.
        self._read = getattr(file, "read1", file.read)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        data = data or self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _rejoined(head: bytes, file: BinaryIO) -> BinaryIO:
    return io.BufferedReader(_Rejoined(head, file), 1 << 16)
