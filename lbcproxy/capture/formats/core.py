"""Bitcoin Core's `-capturemessages`: a folder a peer, with what was received and what was sent.

`msgs_recv.dat` and `msgs_sent.dat` are records without a file header: time (microseconds since
1970, 8 bytes), command (12 bytes, padded with NUL), length of the payload (4 bytes), payload;
numbers little endian. There is no magic, no checksum and no network. WIRE.md 8; Core's
`net.cpp`, CaptureMessageToFile.

Who was the client stands nowhere. Where both sides begin with `version`, it is the one that sent
its own first; otherwise it is the peer, and the node that wrote the files is who was connected to.

Core adds to the folder of a peer that comes back with the same address. Nothing marks it, but a
`version` is the first message of either side: one that comes later begins another session.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lbcproxy import networks
from lbcproxy.capture.formats._core_records import (
    HEADER,
    LATEST,
    Record,
    RecordReader,
    Unreadable,
)
from lbcproxy.capture.tcp.stream_events import MAX_OPEN, Data, Forgotten, Gap, Happened, Opened
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import CaptureError, UnknownNetwork
from lbcproxy.networks import Network
from lbcproxy.text import printable
from lbcproxy.wire.envelope import checksum, command_problem
from lbcproxy.wire.rules import MAX_PAYLOAD

if TYPE_CHECKING:
    from lbcproxy.capture.writing.writer import Writer

__all__ = [
    "NAME",
    "RECEIVED",
    "SENT",
    "SUFFIXES",
    "folder_writer",
    "happened",
    "in_folder",
    "matches",
]

NAME = "core"
SUFFIXES = ()
"""It is a folder; one of its files alone is read, but never written."""

RECEIVED, SENT = "msgs_recv.dat", "msgs_sent.dat"
_SILENCE_NS = 20 * 60 * 1_000_000_000
"""Core's TIMEOUT_INTERVAL: it ends a connection that is silent for longer."""
_UNANSWERED_NS = 60 * 1_000_000_000
"""Core's `-peertimeout`: so long it waits for the answer to its version."""
_TOGETHER = 200
"""Peers that are read at the same time, in the order of time; of more, one after the other."""


class _Side:
    """One of the two files of a peer: what comes next in it, and its damage."""

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
        return isinstance(self.next, Record) and self.next.command == "version"

    def take(self) -> Record | Unreadable:
        """Take what comes next."""
        assert self.next is not None
        found, self.next = self.next, next(self._records, None)
        return found


class _Peer:
    """A peer's folder, or one file of it, as sessions: a peer may have come back."""

    def __init__(self, name: str, sides: Sequence[_Side], numbers: Iterator[int]) -> None:
        self._peer = _endpoint(name)
        self._sides = sides
        self._numbers = numbers
        self._number = 0
        self._is_client = True
        self._time_ns = 0
        # Of the session: what each side said first.
        self._firsts: dict[bool, str] = {}

    def happened(self, network: Network) -> Iterator[Happened]:
        """Give the messages of both files in the order of time, received before sent."""
        while left := [side for side in self._sides if side.next is not None]:
            side = min(left, key=_time_of)
            other = next((each for each in self._sides if each is not side), None)
            if self._number == 0 or self._comes_back(side, other):
                yield from self._begin(side, other, network)
            found = side.take()
            self._time_ns = found.time_ns
            from_client = side.received is self._is_client
            if isinstance(found, Record):
                if found.problem is None:
                    self._firsts.setdefault(side.received, found.command)
                raw = _frame(network.magic, found)
                yield Happened(Data(self._number, from_client, raw, found.time_ns))
            elif network.magic in found.raw:  # what comes after it would be taken for its frame
                yield Happened(Gap(self._number, from_client, len(found.raw), found.time_ns))
            else:
                yield Happened(Data(self._number, from_client, found.raw, found.time_ns))

    def let_go(self) -> Iterator[Happened]:
        """Say that nothing more is known of it."""
        if self._number:
            yield Happened(Forgotten(self._number, self._time_ns))

    def _comes_back(self, side: _Side, other: _Side | None) -> bool:
        """Whether what comes next begins another session: a `version` that is not the first thing.

        A node may repeat its own within a session. Then the other does not answer it with a
        `version`, and nodes were not silent for longer than they put up with.
        """
        if not side.is_version:
            return False
        before = self._firsts.get(not side.received, "version")
        if side.received not in self._firsts and before == "version":
            return False
        assert side.next is not None
        if other is None or other.is_version:
            return True
        patience = _UNANSWERED_NS if other.next is None else _SILENCE_NS
        return side.next.time_ns - self._time_ns > patience

    def _begin(self, side: _Side, other: _Side | None, network: Network) -> Iterator[Happened]:
        """End the session before, and begin one: of two that begin, who does so first connects."""
        assert side.next is not None
        yield from self.let_go()
        self._number = next(self._numbers)
        self._firsts.clear()
        node_first = side.is_version and not side.received
        self._is_client = not (node_first and other is not None and other.is_version)
        node = Endpoint("0.0.0.0", network.port)  # noqa: S104  # an address that nobody has
        client, server = (self._peer, node) if self._is_client else (node, self._peer)
        # The first thing is a `version`; an unreadable type does not tell that it was another.
        begun = side.is_version or (isinstance(side.next, Record) and bool(side.next.problem))
        yield Happened(Opened(self._number, client, server, side.next.time_ns, begun))


def _time_of(side: _Side) -> tuple[int, bool]:
    assert side.next is not None
    return side.next.time_ns, not side.received


def _frame(magic: bytes, record: Record) -> bytes:
    """Put a record into a frame; one with an unreadable type becomes one that says so."""
    size = len(record.payload).to_bytes(4, "little")
    return magic + record.raw_command + size + checksum(record.payload) + record.payload


def matches(head: bytes) -> bool:
    """Whether a file that begins so is one of Core's: its first record makes sense."""
    if len(head) < HEADER.size:
        return False
    time, command, length = HEADER.unpack_from(head)
    return time < LATEST and length <= MAX_PAYLOAD and command_problem(command) is None


def happened(file: BinaryIO, path: Path, network: Network | None) -> Iterator[Happened]:
    """Give the messages of one of the two files; the name of the other would not help.

    Raises UnknownNetwork if no network is given.
    """
    chain = _known(path, network)
    side = _Side("recv" in path.name, file)
    yield from _Peer(path.absolute().parent.name, [side], itertools.count(1)).happened(chain)
    if side.damage is not None:
        raise side.damage


def in_folder(path: Path, network: Network | None) -> Iterator[Happened]:
    """Give the messages of a peer's folder, or of all peers' in a folder, in the order of time.

    A damaged file is given as far as it is good; CaptureError says so when all others are read.
    """
    chain = _known(path, network)
    folders = [path] if _files(path) else [each for each in sorted(path.iterdir()) if _files(each)]
    if not folders:
        raise CaptureError(f"no capture: neither {RECEIVED} nor {SENT} is in this folder")
    numbers = itertools.count(1)
    damages: list[CaptureError] = []
    step = len(folders) if len(folders) <= _TOGETHER else 1
    peers: deque[_Peer] = deque()
    for begin in range(0, len(folders), step):
        with ExitStack() as stack:
            streams = []
            for folder in folders[begin : begin + step]:
                files = _files(folder)
                sides = [
                    _Side(each.name == RECEIVED, stack.enter_context(each.open("rb")))
                    for each in files
                ]
                stack.callback(_gather, damages, files, sides)
                peers.append(_Peer(folder.absolute().name, sides, numbers))
                streams.append(peers[-1].happened(chain))
            yield from heapq.merge(*streams, key=lambda each: each.event.time_ns)
        if len(peers) > MAX_OPEN:  # nobody says when a peer left, and nothing of the first comes
            yield from peers.popleft().let_go()
    if damages:
        raise damages[0]


def _gather(damages: list[CaptureError], files: Sequence[Path], sides: Sequence[_Side]) -> None:
    """Note what was wrong with the files of a peer."""
    for path, side in zip(files, sides, strict=True):
        if side.damage is not None:
            where = f"{path.parent.name}/{path.name}: {side.damage.what}"
            damages.append(CaptureError(where, side.damage.offset))


def folder_writer(path: Path) -> Writer:
    """Give what writes a folder for each session, as a Core in the upstream's place would have."""
    from lbcproxy.capture.writing.core import AsCore  # which stands on this module

    return AsCore(path)


def _files(folder: Path) -> list[Path]:
    return [folder / name for name in (RECEIVED, SENT) if (folder / name).is_file()]


def _known(path: Path, network: Network | None) -> Network:
    if network is None:
        raise UnknownNetwork(
            f"{path}: files of Bitcoin Core hold no network; "
            f"say --network, one of {', '.join(networks.all_networks())}"
        )
    return network


def _endpoint(name: str) -> Endpoint:
    """Read an address out of a folder's name, in which each `:` is a `_`.

    A folder that we wrote of another session with the same peer ends with a number.
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
