"""What a capture format is: the value that each module in `lbcproxy.capture.formats` exports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from lbcproxy.capture.packet import Packet, Section, Statistics
from lbcproxy.capture.spans import Span
from lbcproxy.capture.tcp.stream_events import AnnotatedEvent
from lbcproxy.networks import Network

__all__ = ["FileItem", "Format", "Source"]

FileItem = Packet | Section | AnnotatedEvent | Statistics
"""What a file holds. A file of messages has an `AnnotatedEvent` where others have packets."""


class Source(msgspec.Struct, frozen=True):
    """A file to be read, and what is known about it."""

    file: BinaryIO
    path: Path
    """Its path, for error messages."""
    network: Network | None
    """The network of its sessions if the user named one."""
    not_kept: Counter[str]
    """Counts what is in the file and not read, by description."""


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """A capture format: how it is recognised and read.

    A format that is a folder of files has `read_folder` as well: its `read` reads one of them.
    """

    name: str
    suffixes: tuple[str, ...]
    """Of file names, each with its dot."""
    matches: Callable[[bytes], bool]
    """Return whether a file that begins with these bytes has the format."""
    read: Callable[[Source], Iterator[FileItem]]
    """Return the items of a file in order, holding one at a time.

    Raises CaptureError where the file is damaged, after everything before the damage.
    """
    read_folder: Callable[[Path, Network | None], Iterator[FileItem]] | None = None
    """Return the items of a folder in order of time."""
    spans: Callable[[BinaryIO], Iterator[Span]] | None = None
    """Return the intact and the damaged spans of a file; None if files cannot be repaired."""
