"""Conversations made by hand: said, compared, and written as captures."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lbcproxy import networks
from lbcproxy.capture import Recorder
from lbcproxy.endpoint import Endpoint
from lbcproxy.networks import Network
from lbcproxy.replay import Comparison, ComparisonReport, IgnoredFields
from lbcproxy.replay.comparing.compare import LIVE, RECORDED
from lbcproxy.replay.comparing.normalize import ComparedMessage
from lbcproxy.session import Direction, Entry, Message, Session, SessionInfo
from lbcproxy.wire import Codec
from lbcproxy.wire.messages.blocks import Block
from lbcproxy.wire.messages.handshake import NetAddress, VerAck, Version
from lbcproxy.wire.messages.headers import BlockHeader, GetHeaders, Headers
from lbcproxy.wire.messages.inventory import GetData, Inv, InventoryVector, InvType, NotFound
from lbcproxy.wire.messages.keepalive import Ping, Pong
from lbcproxy.wire.record import MessageRecord
from tests.session.feed import Feed

__all__ = [
    "BLOCKS",
    "DOWN",
    "HEADERS",
    "NETWORK",
    "SECOND",
    "START",
    "TALK",
    "UP",
    "Line",
    "asked",
    "compared",
    "entries_of",
    "have",
    "header",
    "missing",
    "raw_of",
    "version",
    "write",
]

NETWORK = networks.get("bitcoin-regtest")
CODEC = Codec(NETWORK, 70016)
UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
NOBODY = NetAddress(services=0, ip=bytes(16), port=0)

Line = tuple[Direction, MessageRecord | bytes]
"""Who says what; bytes are said as they are."""


def version(nonce: int = 1, height: int = 0, agent: bytes = b"/a/", time: int = 0) -> Version:
    """A `version` that nothing is wrong with."""
    return Version(70016, 0, time, NOBODY, NOBODY, nonce, agent, height, True)


def header(number: int, after: bytes = bytes(32)) -> BlockHeader:
    """A block's header, another for each number."""
    return BlockHeader(1, after, number.to_bytes(32, "little"), None, number, 0x207FFFFF, 0)


HEADERS = tuple(header(number) for number in range(1, 6))
BLOCKS = tuple(Block(each, ()) for each in HEADERS)


def _things(kind: int, headers: Iterable[BlockHeader]) -> tuple[InventoryVector, ...]:
    return tuple(InventoryVector(kind, each.hash) for each in headers)


def asked(*headers: BlockHeader) -> GetData:
    """The wish for blocks."""
    return GetData(_things(InvType.BLOCK, headers))


def have(*headers: BlockHeader) -> Inv:
    """The news of blocks."""
    return Inv(_things(InvType.BLOCK, headers))


def missing(*headers: BlockHeader) -> NotFound:
    """The lack of blocks."""
    return NotFound(_things(InvType.BLOCK, headers))


TALK: tuple[Line, ...] = (
    (UP, version(1)),
    (DOWN, version(2, height=5, agent=b"/node/")),
    (DOWN, VerAck()),
    (UP, VerAck()),
    (UP, GetHeaders(70016, (bytes(32),), bytes(32))),
    (DOWN, Headers(HEADERS)),
    (DOWN, Ping(3)),
    (UP, Pong(3)),
    (UP, asked(*HEADERS[:3])),
    *((DOWN, each) for each in BLOCKS[:3]),
    (UP, Ping(4)),
    (DOWN, Pong(4)),
    (DOWN, have(HEADERS[3])),
    (UP, asked(HEADERS[3])),
    (DOWN, BLOCKS[3]),
)
"""What a light client and a node say to each other."""


def raw_of(line: Line) -> bytes:
    """The bytes of what is said."""
    direction, said = line
    return said if isinstance(said, bytes) else Message.of(said, direction, CODEC).raw


def entries_of(lines: Iterable[Line], *, number: int = 1, step: int = SECOND) -> list[Entry]:
    """What is said as the entries of a session."""
    session = Session(number, NETWORK, stream_above=None)
    found: list[Entry] = []
    for position, line in enumerate(lines):
        for delivery in session.receive(line[0], raw_of(line), START + position * step):
            found += delivery.entries
    return found


def compared(
    recorded: Iterable[Line],
    live: Iterable[Line],
    *ignore: str,
    sides: Sequence[int] = (),
    **options: Any,
) -> ComparisonReport:
    """Compare two conversations, both handed in in turns, or in the order of `sides`."""
    comparison = Comparison(IgnoredFields(ignore, **options))
    both = [iter(entries_of(each)) for each in (recorded, live)]
    for side in itertools.chain(sides, itertools.cycle((RECORDED, LIVE))):
        entry = next(both[side], None)
        if entry is not None:
            comparison.add_message(side, ComparedMessage.of(entry))
            continue
        for left in both[1 - side]:
            comparison.add_message(1 - side, ComparedMessage.of(left))
        break
    return comparison.finish()


def write(
    path: Path, *sessions: Iterable[Line], step: int = SECOND, network: Network = NETWORK
) -> Path:
    """Write sessions, one after another, as a capture."""
    with path.open("wb") as file:
        recorder = Feed(Recorder(file.write, network=network.id))
        for number, lines in enumerate(sessions, 1):
            info = SessionInfo(
                number=number,
                network=network.id,
                client=Endpoint("127.0.0.1", 50_000 + number),
                listen=Endpoint("127.0.0.1", 9000),
                upstream=Endpoint("127.0.0.1", 18444),
            )
            session = Session(number, network, stream_above=None)
            recorder.started(info, START)
            for position, line in enumerate(lines):
                time_ns = START + position * step
                deliveries = session.receive(line[0], raw_of(line), time_ns)
                recorder.passed(info, line[0], deliveries, time_ns)
            for direction in Direction:
                recorder.finished(info, direction, START + 3600 * SECOND)
    return path
