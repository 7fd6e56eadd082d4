"""What happened as Bitcoin Core would have captured it, had it been the upstream."""

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
from lbcproxy.session.events import Delivered, SessionEnded, SessionEvent, SessionStarted
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.wire import Frame, Framer, Junk
from lbcproxy.wire.envelope import HEADER_SIZE

__all__ = ["WRITER", "CoreWriter"]

_MOST_OPEN = 100
_LONGEST_NAME = 200
_NOBODY = ("0.0.0.0", "::")  # noqa: S104  # hosts that are compared, not listened at
_AS_NAME = str.maketrans(":/\0", "___")


class _Folder(msgspec.Struct):
    """Where the messages of a session go."""

    path: Path
    network: str
    received: Direction
    """The direction of what the node that writes the files receives."""


class CoreWriter(Writer):
    """Writes a folder for each session, named for the node's peer, into a folder.

    The files are those of a Core in the upstream's place, so the peer is the client. Of a client
    without an address, as a node is in Core's own files, they are those of that node.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._folders: dict[int, _Folder] = {}
        self._taken: set[str] = set()
        self._open: dict[Path, BinaryIO] = {}
        self._begun: set[Path] = set()
        make_folders(path)

    def header(self, header: SectionHeader) -> None:
        """Begin a section."""
        self.lacking("comments of the file", len(header.comments))
        self._folders.clear()

    def session_event(self, event: SessionEvent) -> None:
        """Write the messages of the node, and count what else happened."""
        match event:
            case Delivered():
                self._deliver(event)
            case SessionStarted():
                self.lacking("missing beginnings", not event.from_start)
                self._start(event.info)
            case SessionEnded():
                self.lacking("ends of sessions", event.closed)
                self._end(event.info.number)

    def _start(self, info: SessionInfo) -> None:
        """Choose a folder; it is made with the first message."""
        self.lacking("networks: say --network")
        self.lacking("addresses of the node's own")
        mirrored = info.client.host in _NOBODY and info.listen.host not in _NOBODY
        # What stands in a file may be anything: a host is no way into other folders.
        peer = info.listen if mirrored else info.client
        name = base = str(peer).translate(_AS_NAME)[:_LONGEST_NAME]
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
        self.lacking("verdicts and who decided", entry.verdict != EntryVerdict.PASS)
        self.lacking("comments of messages", len(entry.comments))
        self.lacking("nanoseconds of times", entry.time_ns % 1_000 != 0)
        if entry.message is None:
            self.lacking("gaps" if entry.missing else "pieces that are no message")
        elif (entry.message.frame_error or "").startswith("checksum"):
            self.lacking("checksums, which become right")

    def _at_node(self, delivery: Delivery, entry: Entry, folder: _Folder) -> Iterator[bytes]:
        """Give the frames of an entry that were on the side of the node that writes the files."""
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
                self.lacking("pieces that are no message")

    def _write(self, folder: _Folder, direction: Direction, raw: bytes, time_ns: int) -> None:
        micros = time_ns // 1_000
        if not 0 <= micros < TIME_LIMIT:
            self.lacking("times before 1970 or after 2255")
            micros = max(0, min(micros, TIME_LIMIT - 1))
        payload = raw[HEADER_SIZE:]
        file = self._file(folder.path / (RECEIVED if direction is folder.received else SENT))
        file.write(HEADER.pack(micros, raw[4:16], len(payload)) + payload)

    def _file(self, path: Path) -> BinaryIO:
        file = self._open.pop(path, None)
        if file is None:
            if len(self._open) >= _MOST_OPEN:
                oldest = next(iter(self._open))
                self._open.pop(oldest).close()
            make_folders(path.parent)
            file = open_to_append(path)
            if path not in self._begun:
                file.truncate(0)
            self._begun.add(path)
        self._open[path] = file
        return file


WRITER = FormatWriter("core", to_folder=CoreWriter)
