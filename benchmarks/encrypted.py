"""Measure what encryption (BIP324, v2) costs: forwarding, and the round trip of a ping.

`python -m benchmarks.encrypted [--repeats N] [--scale X]`. lbcproxy is the same program in both
transports: it follows the client. With v2 it decrypts each packet of one end and encrypts it for
the other. The sender has encrypted everything before the time begins, and the sink only counts
bytes, so that neither is what is measured. In a round trip both ends encrypt and decrypt, as nodes
do; `direct, v2` shows what they take. Without that, the rest is what lbcproxy takes.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import msgspec

from benchmarks import contestants
from benchmarks.blocks import NETWORK
from benchmarks.contestants import Contestant
from benchmarks.ends import connect, exactly, hand_over, process, sink
from benchmarks.forward import Run, Work, forward, forward_between
from benchmarks.measure import US, Absent, Figure, Target, figure
from benchmarks.report import run_alone
from benchmarks.round_trip import PING, PLAIN, PONG, Ends, take_trips
from benchmarks.traffic import HELLO, VERACK, blocks, buffer_of, transactions
from benchmarks.turns import take_turns
from lbcproxy.transport.curve import MissingLibrary
from lbcproxy.transport.messages import contents_of
from lbcproxy.transport.sizes import OVERHEAD
from lbcproxy.wire.envelope import HEADER_SIZE, unpack

if TYPE_CHECKING:
    from lbcproxy.transport.v2 import V2Transport

__all__ = ["TARGETS", "WORKS", "measure"]

V1 = msgspec.structs.replace(contestants.LBCPROXY, who=f"{US}, v1")
V2 = msgspec.structs.replace(contestants.LBCPROXY, who=f"{US}, v2")
V2_ALONE = msgspec.structs.replace(V2, who=f"{V2.who}, without the ends' part")
DIRECT_V2 = Contestant("direct, v2")
LONG = "encrypted, 100 kB messages"
SHORT = "encrypted, 300 B messages"
PINGS = "encrypted, round trip of a ping"
WORKS = (
    Work(LONG, *buffer_of(blocks(10, 100_000)), 400_000_000, "MB/s"),
    Work(SHORT, *buffer_of(transactions(3_500)), 90_000_000, "messages/s"),
)
"""Less than where nothing is encrypted: the sender has all of it in memory."""
KEY_SIZE = 64
START_SIZE = 16 + OVERHEAD
"""The terminator, and a version packet without contents."""
BATCHES = 3
"""Of pings in a repeat: they are short."""
TO_V1 = f"{{}}, to {V1.who}"
"""The ratio turn by turn: both meet what disturbs the machine, if it lasts."""
TARGETS = (
    Target(work=SHORT, who=V2.who, rival=None, ratio=100_000),
    Target(work=TO_V1.format(LONG), who=V2.who, rival=None, ratio=0.5),
    Target(work=TO_V1.format(PINGS), who=V2.who, rival=None, ratio=1.5, at_least=False),
    Target(work=TO_V1.format(PINGS), who=V2_ALONE.who, rival=None, ratio=1.5, at_least=False),
)


def measure(repeats: int = 7, scale: float = 1.0) -> Iterator[Figure | Absent]:
    """Measure all of it; `scale` is how much of the bytes and pings."""
    try:
        _new_transport(initiating=True)
    except MissingLibrary as error:
        yield Absent(V2.who, str(error))
        return
    for work in WORKS:
        yield from _measure(work, repeats, scale)
    ends = {
        contestants.DIRECT: PLAIN,
        DIRECT_V2: ENCRYPTED,
        contestants.TWISTED: PLAIN,
        V1: PLAIN,
        V2: ENCRYPTED,
        V2_ALONE: PREPARED,
    }
    turns = take_trips(PINGS, ends, BATCHES * repeats, scale)
    yield from _figures(PINGS, turns.reached, "us")


def _measure(work: Work, repeats: int, scale: float) -> Iterator[Figure | Absent]:
    times = work.times(scale)
    contents = list(_contents_in(work.buffer))

    def do(contestant: Contestant) -> Run:
        if contestant is V2:
            return _forward_encrypted(work.buffer, contents, times)
        return forward(contestant, work.buffer, times)

    turns = take_turns(work.name, (contestants.TWISTED, V1, V2), repeats, do)
    yield from turns.absent
    speeds = {
        contestant: [work.value(times, run.passed) for run in found]
        for contestant, found in turns.reached.items()
    }
    yield from _figures(work.name, speeds, work.unit)
    for contestant, found in turns.reached.items():
        each = [run.cpu / times / len(work.buffer) * 1e9 for run in found]
        yield figure(f"{work.name}, processor time", contestant.who, each, "s/GB")


def _figures(
    work: str, reached: Mapping[Contestant, Sequence[float]], unit: str
) -> Iterator[Figure]:
    """Return the figures of contestants, and the ratios of those with v2 to v1."""
    for contestant, found in reached.items():
        yield figure(work, contestant.who, found, unit)
    for contestant in (V2, V2_ALONE):
        if contestant in reached and V1 in reached:
            pairs = zip(reached[contestant], reached[V1], strict=True)
            ratios = [ours / theirs for ours, theirs in pairs]
            yield figure(TO_V1.format(work), contestant.who, ratios, "x")


def _forward_encrypted(buffer: bytes, contents: Sequence[bytes], times: int) -> Run:
    """Send messages several times in packets. A recording has them as frames, as without v2."""
    size = times * sum(_packet_size(each) for each in contents)
    return forward_between(
        V2,
        times * len(buffer),
        sink(size, hello=_answer),
        lambda port: process(_send, port, contents, times),
    )


def _contents_in(frames: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(frames):
        end = at + HEADER_SIZE + unpack(frames, at).length
        yield contents_of(frames[at:end])
        at = end


def _packet_size(contents: bytes) -> int:
    return OVERHEAD + len(contents)


def _send(port: int, contents: Sequence[bytes], times: int, pipe: Connection) -> None:
    connection = connect(port)
    packet = _greet(connection).packet
    packets = b"".join(packet(each) for _ in range(times) for each in contents)
    hand_over(connection, packets, 1, pipe)


# The handshakes. All sizes are known, as nobody sends garbage or decoys.


def _greet(connection: socket.socket) -> V2Transport:
    """Do the handshakes as the one who connected."""
    transport = _new_transport(initiating=True)
    connection.sendall(transport.public_key)
    transport.receive(exactly(connection, KEY_SIZE))
    connection.sendall(transport.terminator() + transport.packet(b""))
    transport.receive(exactly(connection, START_SIZE))
    hello, verack = contents_of(HELLO), contents_of(VERACK)
    connection.sendall(transport.packet(hello))
    transport.receive(exactly(connection, _packet_size(hello) + _packet_size(verack)))
    connection.sendall(transport.packet(verack))
    return transport


def _answer(connection: socket.socket) -> V2Transport:
    """Do the handshakes as the one who was called, who says nothing before the other."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = _new_transport(initiating=False)
    transport.receive(exactly(connection, KEY_SIZE))
    connection.sendall(transport.public_key + transport.terminator() + transport.packet(b""))
    transport.receive(exactly(connection, START_SIZE))
    hello, verack = contents_of(HELLO), contents_of(VERACK)
    transport.receive(exactly(connection, _packet_size(hello)))
    connection.sendall(transport.packet(hello) + transport.packet(verack))
    transport.receive(exactly(connection, _packet_size(verack)))
    return transport


def _new_transport(*, initiating: bool) -> V2Transport:
    from lbcproxy.transport.v2 import V2Transport  # it needs the libraries for encryption

    return V2Transport(NETWORK.magic, initiating=initiating)


# Pings.


def _greet_to_ping(connection: socket.socket) -> Callable[[], object]:
    transport = _greet(connection)
    ping, size = contents_of(PING), _packet_size(contents_of(PONG))

    def ask() -> None:
        connection.sendall(transport.packet(ping))
        [_] = transport.receive(exactly(connection, size))

    return ask


def _answer_pings(listening: socket.socket, _: Connection) -> None:
    connection, _ = listening.accept()
    transport = _answer(connection)
    pong, size = contents_of(PONG), _packet_size(contents_of(PING))
    with contextlib.suppress(RuntimeError):  # the end of the connection is the end
        while True:
            [_] = transport.receive(exactly(connection, size))
            connection.sendall(transport.packet(pong))


ENCRYPTED = Ends(_answer_pings, _greet_to_ping)


def _greet_prepared(connection: socket.socket) -> Callable[[], object]:
    pings, size = _made_before(_greet(connection), PING), _packet_size(contents_of(PONG))

    def ask() -> None:
        connection.sendall(next(pings))
        exactly(connection, size)

    return ask


def _answer_prepared(listening: socket.socket, _: Connection) -> None:
    connection, _ = listening.accept()
    pongs, size = _made_before(_answer(connection), PONG), _packet_size(contents_of(PING))
    with contextlib.suppress(RuntimeError):
        while True:
            exactly(connection, size)
            connection.sendall(next(pongs))


def _made_before(transport: V2Transport, frame: bytes) -> Iterator[bytes]:
    """Return packets without end, many of which are made at once, which no median notices."""
    contents = contents_of(frame)
    while True:
        yield from [transport.packet(contents) for _ in range(1_000)]


PREPARED = Ends(_answer_prepared, _greet_prepared)
"""They encrypt in advance, and decrypt nothing."""


if __name__ == "__main__":
    run_alone(measure, TARGETS, repeats=7)
