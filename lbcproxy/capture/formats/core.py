"""Bitcoin Core's `-capturemessages`: a folder for each peer, with what was received and sent.

`msgs_recv.dat` and `msgs_sent.dat` are records without a file header: time (microseconds since
1970, 8 bytes), command (12 bytes, padded with NUL), length of the payload (4 bytes), payload;
numbers are little-endian. There is no magic, no checksum and no network. See CaptureMessageToFile
in Core's `net.cpp`.

The files do not say which side was the client. If both sides begin with `version`, it is the one
that sent its own first. Otherwise it is the peer, and the node that wrote the files was the server.

If a peer comes back with the same address, Core appends to its folder. Nothing marks that, but
`version` is the first message of either side: a later one begins another session.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from lbcproxy import networks
from lbcproxy.capture.format import Format, Source
from lbcproxy.capture.formats._core_records import (
    HEADER,
    TIME_LIMIT,
    CapturedMessage,
    RecordReader,
    Unreadable,
)
from lbcproxy.capture.tcp.stream_events import (
    MAX_OPEN,
    AnnotatedEvent,
    Data,
    Forgotten,
    Gap,
    Opened,
)
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import CaptureError, UnknownNetwork
from lbcproxy.networks import Network
from lbcproxy.text import printable
from lbcproxy.wire.envelope import checksum, command_problem
from lbcproxy.wire.rules import MAX_PAYLOAD

__all__ = ["FORMAT", "RECEIVED", "SENT", "matches", "read_file", "read_folder"]

RECEIVED, SENT = "msgs_recv.dat", "msgs_sent.dat"
_IDLE_TIMEOUT_NS = 20 * 60 * 1_000_000_000
"""Core's TIMEOUT_INTERVAL: it closes a connection that is silent for longer."""
_VERSION_TIMEOUT_NS = 60 * 1_000_000_000
"""Core's `-peertimeout`: how long it waits for the answer to its version."""
_MAX_INTERLEAVED = 200
"""Peers that are read at the same time, in order of time. More are read one after the other."""


class _DirectionFile:
    """One of the two files of a peer: the record that comes next in it, and its damage."""

    def __init__(self, received: bool, file: BinaryIO) -> None:
        self.received = received
        self._reader = RecordReader(file)
        self._records = iter(self._reader)
        self.next = next(self._records, None)

    @property
    def damage(self) -> CaptureError | None:
        return self._reader.damage

    @property
    def is_version(self) -> bool:
        """Whether a `version` comes next."""
        return isinstance(self.next, CapturedMessage) and self.next.command == "version"

    def advance(self) -> CapturedMessage | Unreadable:
        """Return what comes next, and move on."""
        assert self.next is not None
        record, self.next = self.next, next(self._records, None)
        return record


class _PeerFolder:
    """A peer's folder, or one file of it, as sessions: a peer may have come back."""

    def __init__(self, name: str, sides: Sequence[_DirectionFile], numbers: Iterator[int]) -> None:
        self._peer = _endpoint(name)
        self._sides = sides
        self._numbers = numbers
        self._number = 0
        self._is_client = True
        self._time_ns = 0
        # The first command of the session that each side sent.
        self._firsts: dict[bool, str] = {}

    def events(self, network: Network) -> Iterator[AnnotatedEvent]:
        """Return the messages of both files in order of time, received before sent."""
        while left := [side for side in self._sides if side.next is not None]:
            side = min(left, key=_time_of)
            other = next((each for each in self._sides if each is not side), None)
            if self._number == 0 or self._comes_back(side, other):
                yield from self._begin(side, other, network)
            record = side.advance()
            self._time_ns = record.time_ns
            from_client = side.received is self._is_client
            if isinstance(record, CapturedMessage):
                if record.problem is None:
                    self._firsts.setdefault(side.received, record.command)
                raw = _frame(network.magic, record)
                yield AnnotatedEvent(Data(self._number, from_client, raw, record.time_ns))
            elif network.magic in record.raw:  # a frame: the bytes after it would seem part of it
                yield AnnotatedEvent(
                    Gap(self._number, from_client, len(record.raw), record.time_ns)
                )
            else:
                yield AnnotatedEvent(Data(self._number, from_client, record.raw, record.time_ns))

    def forget(self) -> Iterator[AnnotatedEvent]:
        """Return the event that nothing more is known about the session."""
        if self._number:
            yield AnnotatedEvent(Forgotten(self._number, self._time_ns))

    def _comes_back(self, side: _DirectionFile, other: _DirectionFile | None) -> bool:
        """Return whether what comes next begins another session: a `version` that is not first.

        A node may repeat its own `version` within a session. Then the other side does not answer
        with a `version`, and neither was silent for longer than nodes wait.
        """
        if not side.is_version:
            return False
        before = self._firsts.get(not side.received, "version")
        if side.received not in self._firsts and before == "version":
            return False
        assert side.next is not None
        if other is None or other.is_version:
            return True
        timeout = _VERSION_TIMEOUT_NS if other.next is None else _IDLE_TIMEOUT_NS
        return side.next.time_ns - self._time_ns > timeout

    def _begin(
        self, side: _DirectionFile, other: _DirectionFile | None, network: Network
    ) -> Iterator[AnnotatedEvent]:
        """End the session before, and begin another; whoever sends `version` first connected."""
        assert side.next is not None
        yield from self.forget()
        self._number = next(self._numbers)
        self._firsts.clear()
        node_first = side.is_version and not side.received
        self._is_client = not (node_first and other is not None and other.is_version)
        node = Endpoint("0.0.0.0", network.port)  # noqa: S104  # in place of an unknown address
        client, server = (self._peer, node) if self._is_client else (node, self._peer)
        # An unreadable command may have been the `version` that comes first.
        begun = side.is_version or (
            isinstance(side.next, CapturedMessage) and bool(side.next.problem)
        )
        yield AnnotatedEvent(Opened(self._number, client, server, side.next.time_ns, begun))


def _time_of(side: _DirectionFile) -> tuple[int, bool]:
    assert side.next is not None
    return side.next.time_ns, not side.received


def _frame(magic: bytes, record: CapturedMessage) -> bytes:
    """Return a record as a frame; an unreadable command makes a frame with that error."""
    size = len(record.payload).to_bytes(4, "little")
    return magic + record.raw_command + size + checksum(record.payload) + record.payload


def matches(head: bytes) -> bool:
    """Return whether a file that begins with these bytes is Core's: its first record is valid."""
    if len(head) < HEADER.size:
        return False
    time, command, length = HEADER.unpack_from(head)
    return time < TIME_LIMIT and length <= MAX_PAYLOAD and command_problem(command) is None


def read_file(source: Source) -> Iterator[AnnotatedEvent]:
    """Return the messages of one of the two files.

    Raises UnknownNetwork if no network is given.
    """
    path = source.path
    network = _require_network(path, source.network)
    side = _DirectionFile("recv" in path.name, source.file)
    peer = _PeerFolder(path.absolute().parent.name, [side], itertools.count(1))
    yield from peer.events(network)
    if side.damage is not None:
        raise side.damage


def read_folder(path: Path, network: Network | None) -> Iterator[AnnotatedEvent]:
    """Return the messages of a peer's folder, or of all peers in a folder, in order of time.

    A damaged file is read as far as it is good. CaptureError is raised once all others are read.
    """
    network = _require_network(path, network)
    folders = [path] if _files(path) else [each for each in sorted(path.iterdir()) if _files(each)]
    if not folders:
        raise CaptureError(f"not a capture: neither {RECEIVED} nor {SENT} is in this folder")
    numbers = itertools.count(1)
    damages: list[CaptureError] = []
    step = len(folders) if len(folders) <= _MAX_INTERLEAVED else 1
    peers: deque[_PeerFolder] = deque()
    for begin in range(0, len(folders), step):
        with ExitStack() as stack:
            streams = []
            for folder in folders[begin : begin + step]:
                files = _files(folder)
                sides = [
                    _DirectionFile(each.name == RECEIVED, stack.enter_context(each.open("rb")))
                    for each in files
                ]
                stack.callback(_collect_damage, damages, files, sides)
                peers.append(_PeerFolder(folder.absolute().name, sides, numbers))
                streams.append(peers[-1].events(network))
            yield from heapq.merge(*streams, key=lambda each: each.event.time_ns)
        if len(peers) > MAX_OPEN:  # no record says when a peer left
            yield from peers.popleft().forget()
    if damages:
        raise damages[0]


def _collect_damage(
    damages: list[CaptureError], files: Sequence[Path], sides: Sequence[_DirectionFile]
) -> None:
    """Append what was wrong with the files of a peer."""
    for path, side in zip(files, sides, strict=True):
        if side.damage is not None:
            where = f"{path.parent.name}/{path.name}: {side.damage.what}"
            damages.append(CaptureError(where, side.damage.offset))


def _files(folder: Path) -> list[Path]:
    return [folder / name for name in (RECEIVED, SENT) if (folder / name).is_file()]


def _require_network(path: Path, network: Network | None) -> Network:
    if network is None:
        raise UnknownNetwork(
            f"{path}: files of Bitcoin Core do not name a network; "
            f"say --network, one of {', '.join(networks.all_networks())}"
        )
    return network


def _endpoint(name: str) -> Endpoint:
    """Parse the address in a folder's name, where each `:` is a `_`.

    A folder that lbcproxy wrote for another session with the same peer ends with a number.
    """
    name = _NUMBERED.sub(r"\1", name)
    host, mark, port = name.rpartition("_")
    if host.startswith("["):
        host = host.replace("_", ":")
    try:
        return Endpoint.from_text(f"{host}:{port}") if mark else Endpoint(printable(name), 0)
    except ValueError:
        return Endpoint(printable(name), 0)


_NUMBERED = re.compile(r"(_[0-9]{1,5})-[0-9]+$")


FORMAT = Format(
    name="core",
    suffixes=(),
    matches=matches,
    read=read_file,
    read_folder=read_folder,
)
