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
from collections.abc import Iterator
from multiprocessing.connection import Connection

from benchmarks import contestants
from benchmarks.contestants import Contestant, started
from benchmarks.ends import answer, answering, connect, exactly, greet
from benchmarks.measure import Absent, Figure, Target, figure
from benchmarks.report import progress, run_alone
from benchmarks.traffic import framed
from lbcproxy.wire.messages.keepalive import Ping, Pong

__all__ = ["TARGETS", "measure"]

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
    times: dict[Contestant, list[float]] = {}
    with contextlib.ExitStack() as stack:
        connections = {}
        for contestant in WHO:
            if contestant.absent is not None:
                yield contestant.absent
                continue
            upstream, _ = stack.enter_context(answering(_answer_pings))
            running = stack.enter_context(started(contestant, upstream))
            connection = stack.enter_context(contextlib.closing(connect(running.port)))
            greet(connection)
            connections[contestant], times[contestant] = connection, []
        for number in range(1 + repeats):
            progress(f"{WORK} {number}/{repeats}")
            for contestant, connection in connections.items():
                median = _batch(connection, max(10, round(BATCH * scale)))
                if number:  # the first batch is to warm up
                    times[contestant].append(median)
    for contestant, found in times.items():
        yield figure(WORK, contestant.who, found, "us")


def _batch(connection: socket.socket, count: int) -> float:
    """Send pings one by one and return the median time until the pong, in microseconds."""
    found = []
    for _ in range(count):
        start = time.perf_counter()
        connection.sendall(PING)
        exactly(connection, len(PONG))
        found.append(time.perf_counter() - start)
    return statistics.median(found) * 1e6


def _answer_pings(listening: socket.socket, _: Connection) -> None:
    connection, _ = listening.accept()
    answer(connection)
    with contextlib.suppress(RuntimeError):  # the end of the connection is the end
        while True:
            exactly(connection, len(PING))
            connection.sendall(PONG)


if __name__ == "__main__":
    run_alone(measure, TARGETS, repeats=15)
