"""Bitcoin Core's `-capturemessages`: a folder a peer, with what was received and what was sent.

`msgs_recv.dat` and `msgs_sent.dat` are records without a file header: time (microseconds since
1970, 8 bytes), command (12 bytes, padded with NUL), length of the payload (4 bytes), payload;
numbers little endian. There is no magic, no checksum and no network. WIRE.md 8; Core's
`net.cpp`, CaptureMessageToFile.

Who was the client stands nowhere. Where both files begin with `version`, it is who sent his first;
else it is the peer, and the node that wrote the files is who was connected to.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from lbcproxy import networks
from lbcproxy.capture.reading.connection import UnknownNetwork
from lbcproxy.capture.reading.happening import Data, Happened, Opened
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import CaptureError
from lbcproxy.networks import Network
from lbcproxy.text import printable
from lbcproxy.wire.envelope import command_problem, frame
from lbcproxy.wire.rules import MAX_PAYLOAD

if TYPE_CHECKING:
    from lbcproxy.capture.formats._writer import Writer

__all__ = [
    "NAME",
    "RECEIVED",
    "RECORD",
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
RECORD = struct.Struct("<Q12sI")
_LATEST = 1 << 53  # microseconds, in the year 2255: later is no time
_TOGETHER = 200
"""Peers that are read at the same time, in the order of time; of more, one after the other."""


class _Record(msgspec.Struct, frozen=True, gc=False):
    """One message."""

    time_ns: int
    command: str
    payload: bytes


class _Peer:
    """A peer's folder, or one file of it."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.peer = _endpoint(name)
        self.is_client = True
        self.opened = False


def matches(head: bytes) -> bool:
    """Whether a file that begins so is one of Core's: its first record makes sense."""
    if len(head) < RECORD.size:
        return False
    time, command, length = RECORD.unpack_from(head)
    return time < _LATEST and length <= MAX_PAYLOAD and command_problem(command) is None


def happened(file: BinaryIO, path: Path, network: Network | None) -> Iterator[Happened]:
    """Give the messages of one of the two files; the name of the other would not help.

    Raises UnknownNetwork if no network is given.
    """
    chain = _known(path, network)
    peer = _Peer(1, path.absolute().parent.name)
    received = "recv" in path.name
    for record in _records(file):
        yield from _told(peer, received, record, chain)


def in_folder(path: Path, network: Network | None) -> Iterator[Happened]:
    """Give the messages of a peer's folder, or of all peers' in a folder, in the order of time.

    A damaged file is given as far as it is good; CaptureError says so when all others are read.
    """
    chain = _known(path, network)
    folders = [path] if _files(path) else [each for each in sorted(path.iterdir()) if _files(each)]
    if not folders:
        raise CaptureError(f"no capture: neither {RECEIVED} nor {SENT} is in this folder")
    damages: list[CaptureError] = []
    peers = [(_Peer(number, each.absolute().name), each) for number, each in enumerate(folders, 1)]
    step = len(peers) if len(peers) <= _TOGETHER else 1
    for begin in range(0, len(peers), step):
        with ExitStack() as stack:
            streams = [
                _ordered(peer, file, index, stack, damages)
                for peer, folder in peers[begin : begin + step]
                for index, file in _open(peer, folder)
            ]
            for _, _, received, record, peer in heapq.merge(*streams, key=lambda one: one[:2]):
                yield from _told(peer, received, record, chain)
    if damages:
        raise damages[0]


def folder_writer(path: Path) -> Writer:
    """Give what writes a folder for each session, as a Core in the upstream's place would have."""
    from lbcproxy.capture.formats._as_core import AsCore  # which stands on this module

    return AsCore(path)


def _files(folder: Path) -> list[Path]:
    return [folder / name for name in (RECEIVED, SENT) if (folder / name).is_file()]


def _open(peer: _Peer, folder: Path) -> list[tuple[int, Path]]:
    """Tell who is the client by the beginnings of a peer's files; give them in order."""
    files = _files(folder)
    firsts = [_first(each) for each in files]
    if len(firsts) == 2 and all(each is not None and each[1] == "version" for each in firsts):
        received, sent = firsts
        assert received is not None
        assert sent is not None
        peer.is_client = received[0] <= sent[0]
    return [(peer.number * 2 + ("sent" in each.name), each) for each in files]


def _first(path: Path) -> tuple[int, str] | None:
    with path.open("rb") as file:
        head = file.read(RECORD.size)
    if not matches(head):
        return None
    time, command, _ = RECORD.unpack(head)
    return time, command.rstrip(b"\0").decode("latin-1")


def _ordered(
    peer: _Peer, path: Path, index: int, stack: ExitStack, damages: list[CaptureError]
) -> Iterator[tuple[int, int, bool, _Record, _Peer]]:
    """Give a file's records with what they are ordered by."""
    file = stack.enter_context(path.open("rb"))
    try:
        for record in _records(file):
            yield record.time_ns, index, path.name == RECEIVED, record, peer
    except CaptureError as error:
        where = f"{path.parent.name}/{path.name}: {error.what}"
        damages.append(CaptureError(where, error.offset))


def _records(file: BinaryIO) -> Iterator[_Record]:
    """Cut a file into records; CaptureError at the first that is not whole."""
    offset = 0
    while head := file.read(RECORD.size):
        if len(head) < RECORD.size:
            raise CaptureError("the header of the last message is cut", offset)
        time, command, length = RECORD.unpack(head)
        if (problem := command_problem(command)) is not None:
            raise CaptureError(f"no message: {problem}", offset)
        if length > MAX_PAYLOAD:
            raise CaptureError(f"a message of {length:,} bytes cannot be", offset)
        if time >= _LATEST:
            raise CaptureError(f"no message: its time is {time:,} microseconds", offset)
        payload = file.read(length)
        if len(payload) < length:
            what = f"the last message is cut: {len(payload):,} of {length:,} bytes"
            raise CaptureError(what, offset)
        yield _Record(time * 1_000, command.rstrip(b"\0").decode("latin-1"), payload)
        offset += RECORD.size + length


def _told(peer: _Peer, received: bool, record: _Record, network: Network) -> Iterator[Happened]:
    """Say what a record tells: bytes that passed, and before the first that there is a session."""
    if not peer.opened:
        peer.opened = True
        node = Endpoint("0.0.0.0", network.port)  # noqa: S104  # an address that nobody has
        client, server = (peer.peer, node) if peer.is_client else (node, peer.peer)
        begun = record.command == "version"
        yield Happened(Opened(peer.number, client, server, record.time_ns, begun))
    raw = frame(network.magic, record.command, record.payload)
    yield Happened(Data(peer.number, received is peer.is_client, raw, record.time_ns))


def _known(path: Path, network: Network | None) -> Network:
    if network is None:
        raise UnknownNetwork(
            f"{path}: files of Bitcoin Core hold no network; "
            f"say --network, one of {', '.join(networks.all_networks())}"
        )
    return network


def _endpoint(name: str) -> Endpoint:
    """Read an address out of a folder's name, in which each `:` is a `_`."""
    try:
        return Endpoint.parse(name.replace("_", ":"))
    except ValueError:
        return Endpoint(printable(name), 0)
