"""Writes what Bitcoin Core would have captured if it had been the upstream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from lbcproxy.capture.events import SectionHeader
from lbcproxy.capture.formats._core_records import HEADER, TIME_LIMIT
from lbcproxy.capture.formats.core import RECEIVED, SENT
from lbcproxy.capture.writing.writer import FormatWriter, Writer
from lbcproxy.networks import get
from lbcproxy.private import make_folders, open_to_append
from lbcproxy.session import Delivery, Direction, Entry, SessionInfo
from lbcproxy.session.events import (
    Delivered,
    SessionEnded,
    SessionEvent,
    SessionStarted,
    TransportsAgreed,
)
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.wire import Frame, Framer, Junk
from lbcproxy.wire.envelope import HEADER_SIZE

__all__ = ["WRITER", "CoreWriter"]

_MAX_OPEN = 100
_MAX_NAME = 200
_UNKNOWN_HOSTS = ("0.0.0.0", "::")  # noqa: S104  # hosts that are compared, not listened at
_NAME_TABLE = str.maketrans(":/\0", "___")


class _Folder(msgspec.Struct):
    """Where the messages of a session go."""

    path: Path
    network: str
    received: Direction
    """The direction that the node which captures receives."""


class CoreWriter(Writer):
    """Writes a folder for each session, named after the node's peer, into a folder.

    The files are those of a Core in place of the upstream, so the peer is the client. If the client
    has no address, as a node in Core's own files, the files are those of that node.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._folders: dict[int, _Folder] = {}
        self._taken: set[str] = set()
        self._open: dict[Path, BinaryIO] = {}
        self._started: set[Path] = set()
        make_folders(path)

    def header(self, header: SectionHeader) -> None:
        """Begin a section."""
        self.count_unsupported("comments of the file", len(header.comments))
        self._folders.clear()

    def session_event(self, event: SessionEvent) -> None:
        """Write the messages of the node, and count what else happened."""
        match event:
            case Delivered():
                self._deliver(event)
            case SessionStarted():
                self.count_unsupported("missing beginnings", not event.from_start)
                self._start(event.info)
            case TransportsAgreed():
                self.count_unsupported("transports of sessions")
            case SessionEnded():
                self.count_unsupported("ends of sessions", event.closed)
                self._end(event.info.number)

    def _start(self, info: SessionInfo) -> None:
        """Choose a folder. It is made with the first message."""
        self.count_unsupported("networks: say --network")
        self.count_unsupported("addresses of the node's own")
        mirrored = info.client.host in _UNKNOWN_HOSTS and info.listen.host not in _UNKNOWN_HOSTS
        # A file may claim any host: it must not lead to other folders.
        peer = info.listen if mirrored else info.client
        name = base = str(peer).translate(_NAME_TABLE)[:_MAX_NAME]
        number = 2
        while name in self._taken:
            name, number = f"{base}-{number}", number + 1
        self._taken.add(name)
        received = Direction.TO_CLIENT if mirrored else Direction.TO_UPSTREAM
        self._folders[info.number] = _Folder(self._path / name, info.network, received)

    def _deliver(self, event: Delivered) -> None:
        """Write what the node received or sent."""
        folder = self._folders[event.info.number]
        for delivery in event.deliveries:
            for entry in delivery.entries:
                self._count(entry)
                self.messages -= entry.message is not None  # unless the node had it
                for raw in self._at_node(delivery, entry, folder):
                    self._write(folder, event.direction, raw, entry.time_ns)
                    self.messages += 1

    def _end(self, number: int) -> None:
        """Close the files of a session."""
        folder = self._folders.pop(number, None)
        if folder is None:
            return
        for name in (RECEIVED, SENT):
            file = self._open.pop(folder.path / name, None)
            if file is not None:
                file.close()

    def close(self) -> None:
        """Write all."""
        for file in self._open.values():
            file.close()
        self._open.clear()

    def _count(self, entry: Entry) -> None:
        self.count_unsupported("verdicts and what decided them", entry.verdict != EntryVerdict.PASS)
        self.count_unsupported("comments of messages", len(entry.comments))
        self.count_unsupported("how messages came in encrypted packets", bool(entry.form))
        self.count_unsupported("nanoseconds of times", entry.time_ns % 1_000 != 0)
        if entry.message is None:
            self.count_unsupported("gaps" if entry.missing else "pieces that are not messages")
        elif (entry.message.frame_error or "").startswith("checksum"):
            self.count_unsupported("checksums, which become right")

    def _at_node(self, delivery: Delivery, entry: Entry, folder: _Folder) -> Iterator[bytes]:
        """Return the frames of an entry that were on the side of the node that writes the files."""
        received = entry.direction is folder.received
        if not received or delivery.sent is None:
            if entry.message is not None and (received or entry.verdict != EntryVerdict.INJECT):
                yield entry.raw
            return
        framer = Framer(get(folder.network))
        for item in framer.feed(delivery.sent) + framer.close():
            if isinstance(item, Frame):
                yield item.raw
            elif isinstance(item, Junk) and entry.message is not None:
                self.count_unsupported("pieces that are not messages")

    def _write(self, folder: _Folder, direction: Direction, raw: bytes, time_ns: int) -> None:
        micros = time_ns // 1_000
        if not 0 <= micros < TIME_LIMIT:
            self.count_unsupported("times before 1970 or after 2255")
            micros = max(0, min(micros, TIME_LIMIT - 1))
        payload = raw[HEADER_SIZE:]
        file = self._file(folder.path / (RECEIVED if direction is folder.received else SENT))
        file.write(HEADER.pack(micros, raw[4:16], len(payload)) + payload)

    def _file(self, path: Path) -> BinaryIO:
        file = self._open.pop(path, None)
        if file is None:
            if len(self._open) >= _MAX_OPEN:
                oldest = next(iter(self._open))
                self._open.pop(oldest).close()
            make_folders(path.parent)
            file = open_to_append(path)
            if path not in self._started:
                file.truncate(0)
            self._started.add(path)
        self._open[path] = file
        return file


WRITER = FormatWriter("core", to_folder=CoreWriter)
