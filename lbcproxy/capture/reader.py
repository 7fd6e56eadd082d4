"""Captures in any format, read as entries or events.

A file is read while it is iterated over; neither its packets nor its messages are kept.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lbcproxy import networks
from lbcproxy.capture.events import CaptureSessionEnded, Event, SectionHeader
from lbcproxy.capture.format import FileItem
from lbcproxy.capture.formats import folder_format, recognise
from lbcproxy.capture.packet import Section
from lbcproxy.capture.reading.annotations import section_header
from lbcproxy.capture.reading.assembler import Assembler, AssemblerEvent
from lbcproxy.capture.reading.pairing import Pairing
from lbcproxy.capture.reading.part_assembler import PartAssembler
from lbcproxy.capture.reading.parts import Part, Parts
from lbcproxy.capture.reading.pipe_input import Idle, is_pipe, with_idle
from lbcproxy.capture.reading.read_stats import ReadStats
from lbcproxy.capture.session_report import SessionReport
from lbcproxy.capture.tcp.stream_events import AnnotatedEvent
from lbcproxy.deprecated import DeprecatedAttribute
from lbcproxy.errors import CaptureError, LbcproxyError, UnknownNetwork
from lbcproxy.networks import Network
from lbcproxy.session import Entry
from lbcproxy.session.events import (
    Delivered,
    SessionStarted,
    TransportsAgreed,
    UpstreamConnected,
)

if TYPE_CHECKING:
    from lbcproxy.transport.key_log import KeyLog

__all__ = ["Capture", "CaptureReader", "events", "open_capture"]


def open_capture(
    path: str | Path, network: str | Network | None = None, *, key_log: KeyLog | None = None
) -> Capture:
    """Open a capture to iterate over its entries.

    Args:
        path: A file in any format that lbcproxy reads, compressed or not. A folder is read as one
            of Bitcoin Core's `message_capture`, or as the folder of one of its peers.
        network: The network of all its traffic, or its id. If it is left out, lbcproxy's own
            captures name their network. In other files the magic chooses it, connection by
            connection, if only one network has that magic.
        key_log: Secrets of encrypted connections (BIP324), which are decrypted with them.

    Returns:
        A capture. Iterating over it reads the file and yields an `Entry` for each message, gap and
        run of bytes that are not a message.

    Raises:
        OSError: The file cannot be opened.
        KeyError: There is no such network.
        CaptureError: While iterating: the file is damaged. Everything before the damage has been
            yielded by then.
        UnknownNetwork: While iterating: the network has to be given.
    """
    if isinstance(network, str):
        network = networks.get(network)
    if not Path(path).is_dir():
        with Path(path).open("rb"):  # raise the error here and not while iterating
            pass
    return Capture(Path(path), network, key_log)


def events(capture: Capture) -> Iterator[Event]:
    """Return everything that happened in a capture, in order.

    Raises what iterating over its entries raises. Memory is bounded: a rewritten message waits for
    what was sent in its place, but not forever.
    """
    return capture.events()


class Capture:
    """The entries of a file, in order; each iteration reads the file again."""

    begin = DeprecatedAttribute("open_part")
    opened = DeprecatedAttribute("open_file")

    def __init__(self, path: Path, network: Network | None, key_log: KeyLog | None = None) -> None:
        self.path = path
        self.key_log = key_log
        self._network = network
        self.stats = ReadStats()
        """Counts of the last pass, including what was not read."""
        self.on_session_ended: Callable[[SessionReport], object] = lambda _: None
        """Called with the report on each session, once the session has ended or the file has."""
        self.open_file: Callable[[Path], BinaryIO] = lambda path: path.open("rb")
        """Opens the file; may be replaced, for example to show progress."""

    @property
    def sessions(self) -> int:
        """The number of sessions so far."""
        return self.stats.sessions

    @property
    def skipped(self) -> int:
        """Connections that were skipped because they belong to no known network."""
        return self.stats.skipped

    @property
    def met(self) -> ReadStats:
        """The old name of `stats`."""
        _warn_renamed("met", "stats")
        return self.stats

    @property
    def ended(self) -> Callable[[SessionReport], object]:
        """The old name of `on_session_ended`."""
        _warn_renamed("ended", "on_session_ended")
        return self.on_session_ended

    @ended.setter
    def ended(self, callback: Callable[[SessionReport], object]) -> None:
        """Set `on_session_ended`."""
        _warn_renamed("ended", "on_session_ended")
        self.on_session_ended = callback

    def __iter__(self) -> Iterator[Entry]:
        for event in self._events():
            if isinstance(event, Delivered):
                for delivery in event.deliveries:
                    yield from delivery.entries

    def events(self) -> Iterator[Event]:
        """Return everything that happened, not only messages: see `lbcproxy.capture.events`."""
        pairing = Pairing()
        try:
            for event in self._events():
                yield from pairing.feed(event)
        except LbcproxyError:
            yield from pairing.finish()
            raise
        yield from pairing.finish()

    def open_part(self, parts: Parts) -> CaptureReader:
        """Return a reader of the file as one of several parts."""
        return CaptureReader(self, self._network, Part(parts, self.path))

    def check(self) -> None:
        """Raise CaptureError or UnknownNetwork if nothing in the file could be read."""
        if self.stats.is_unreadable:
            raise CaptureError(f"{self.path}: {'; '.join(self.stats.all_notices)}")
        if self.skipped and not self.sessions:
            raise UnknownNetwork(
                f"{self.path}: none of its {self.skipped} connections begins with the magic of a "
                f"known network; say --network, one of {', '.join(networks.all_networks())}"
            )

    def _events(self) -> Iterator[AssemblerEvent]:
        yield from CaptureReader(self, self._network).events()
        self.check()


def _warn_renamed(old: str, new: str) -> None:
    message = f"Capture.{old} is deprecated, use Capture.{new}"
    warnings.warn(message, DeprecationWarning, stacklevel=3)


class CaptureReader:
    """One pass over a file."""

    def __init__(self, capture: Capture, network: Network | None, part: Part | None = None) -> None:
        self.capture = capture
        self.header = SectionHeader()
        """What the file says at its beginning, after `begin` has read it."""
        self._network = network
        self._part = part
        self._stats = capture.stats = ReadStats()
        self._stack = ExitStack()
        self._items: Iterator[FileItem] | None = None
        self._is_decompressed: Callable[[], bool] = lambda: False
        self._damage: CaptureError | None = None

    def begin(self) -> int:
        """Read up to the first packet and return its time; CaptureError if it is not a capture."""
        items = self._items = self._until_damage(self._open())
        first: list[FileItem] = []
        while (item := next(items, None)) is not None:
            first.append(item)
            if not isinstance(item, Section):
                break
            if len(first) == 1:
                self.header = section_header(item)
        self._items = itertools.chain(first, items)
        if isinstance(item, AnnotatedEvent):
            return item.event.time_ns
        return 0 if item is None else item.time_ns

    def close(self) -> None:
        """Close the file, which is not necessary if it was read to its end."""
        self._stack.close()

    def events(self) -> Iterator[AssemblerEvent]:
        """Return what happened; damage is raised after everything before it was returned."""
        if self._part is None:
            assembler = Assembler(self._stats, self._network, self.capture.key_log)
        else:
            assembler = PartAssembler(self._stats, self._network, self._part)
        open_sessions = self._stats.open_sessions
        for event in self._assemble(assembler):
            if isinstance(event, SessionStarted | UpstreamConnected | TransportsAgreed):
                open_sessions[event.info.number] = event.info
            yield event
            if isinstance(event, CaptureSessionEnded):
                open_sessions.pop(event.info.number, None)
                self.capture.on_session_ended(event.report)

    def _assemble(self, assembler: Assembler) -> Iterator[AssemblerEvent]:
        with self._stack:
            if self._items is None:
                self._items = self._until_damage(self._open())
            if is_pipe(self.capture.path):
                for item in with_idle(self._items):
                    if isinstance(item, Idle):
                        yield from assembler.tick(item.seconds)
                    else:
                        yield from assembler.feed(item)
            else:
                for item in self._items:
                    yield from assembler.feed(item)
        self._items = None
        yield from assembler.leave() if isinstance(assembler, PartAssembler) else assembler.finish()
        if self._damage is not None:
            raise self._damage

    def _until_damage(self, items: Iterator[FileItem]) -> Iterator[FileItem]:
        try:
            yield from items
        except CaptureError as error:
            self._damage = _with_place(error, decompressed=self._is_decompressed())

    def _open(self) -> Iterator[FileItem]:
        path = self.capture.path
        if path.is_dir():
            folder = folder_format()
            assert folder.read_folder is not None
            self._stats.format = folder.name
            return folder.read_folder(path, self._network)
        found = recognise(self._stack.enter_context(self.capture.open_file(path)))
        self._stats.format = found.format.name
        self._is_decompressed = found.is_offset_decompressed
        return found.read(path, self._network, self._stats.not_kept)


def _with_place(error: CaptureError, *, decompressed: bool) -> CaptureError:
    """Return an error whose text says if the offset is one in the decompressed data."""
    if not decompressed or error.offset is None:
        return error
    return CaptureError(f"in the decompressed data: {error.what}", error.offset)
