"""Measure the round trip of a ping: how long one waits for the pong.

`python -m benchmarks.round_trip [--repeats N] [--scale X]`. All contestants run at the same time,
and wait; batches of pings go through one after the other in turn. TCP_NODELAY is set at both ends,
and by every contestant. A value is the median of a batch, the figure the median of those.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from typing import NamedTuple

from benchmarks import contestants
from benchmarks.contestants import Contestant, started
from benchmarks.ends import answer, answering, connect, exactly, greet
from benchmarks.measure import Absent, Figure, Target, figure
from benchmarks.report import progress, run_alone
from benchmarks.traffic import framed
from benchmarks.turns import Turns
from lbcproxy.wire.messages.keepalive import Ping, Pong

__all__ = ["PING", "PLAIN", "PONG", "TARGETS", "Ends", "measure", "take_trips"]


class Ends(NamedTuple):
    """The two ends of a connection on which there are pings."""

    answer: Callable[[socket.socket, Connection], None]
    """Accepts a connection, does the handshake, and answers pings."""
    greet: Callable[[socket.socket], Callable[[], object]]
    """Does the handshake on a connection; returns what sends a ping and waits for the pong."""


WORK = "round trip of a ping"
WHO = (
    contestants.DIRECT,
    contestants.TWISTED,
    contestants.LBCPROXY,
    contestants.NO_RECORD,
    contestants.SOCAT,
    contestants.HAPROXY,
    contestants.TOXIPROXY,
    contestants.MITMDUMP,
)
BATCH = 300
PING, PONG = framed(Ping(nonce=6)), framed(Pong(nonce=6))
TARGETS = (Target(work=WORK, rival="plain Twisted", ratio=1.25, at_least=False),)


def measure(repeats: int = 15, scale: float = 1.0) -> Iterator[Figure | Absent]:
    """Measure it of all contestants; `scale` is how much of the pings."""
    turns = take_trips(WORK, dict.fromkeys(WHO, PLAIN), repeats, scale)
    yield from turns.absent
    for contestant, found in turns.reached.items():
        yield figure(WORK, contestant.who, found, "us")


def take_trips(
    work: str, ends: Mapping[Contestant, Ends], repeats: int, scale: float
) -> Turns[float]:
    """Return the times in microseconds of contestants, each between ends of its own."""
    present = {who: its for who, its in ends.items() if who.absent is None}
    turns: Turns[float] = Turns(present)
    turns.absent += [who.absent for who in ends if who.absent is not None]
    with contextlib.ExitStack() as stack:
        asking = {}
        for contestant, (answer_pings, hello) in present.items():
            upstream, _ = stack.enter_context(answering(answer_pings))
            running = stack.enter_context(started(contestant, upstream))
            connection = stack.enter_context(contextlib.closing(connect(running.port)))
            asking[contestant] = hello(connection)
        for number in range(1 + repeats):
            progress(f"{work} {number}/{repeats}")
            for contestant, ask in asking.items():
                median = _batch(ask, max(10, round(BATCH * scale)))
                if number:  # the first batch is to warm up
                    turns.reached[contestant].append(median)
    return turns


def _batch(ask: Callable[[], object], count: int) -> float:
    """Ask one by one and return the median time until the answer, in microseconds."""
    found = []
    for _ in range(count):
        start = time.perf_counter()
        ask()
        found.append(time.perf_counter() - start)
    return statistics.median(found) * 1e6


def _greet(connection: socket.socket) -> Callable[[], object]:
    def ask() -> None:
        connection.sendall(PING)
        exactly(connection, len(PONG))

    greet(connection)
    return ask


def _answer_pings(listening: socket.socket, _: Connection) -> None:
    connection, _ = listening.accept()
    answer(connection)
    with contextlib.suppress(RuntimeError):  # the end of the connection is the end
        while True:
            exactly(connection, len(PING))
            connection.sendall(PONG)


PLAIN = Ends(_answer_pings, _greet)


if __name__ == "__main__":
    run_alone(measure, TARGETS, repeats=15)
