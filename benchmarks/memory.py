"""Measure memory: at start, with idle sessions, and during one long session.

`python -m benchmarks.memory [--repeats N] [--scale X]`. Resident memory of the contestant's
process, recording where it can.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

from benchmarks import contestants
from benchmarks.contestants import Contestant, Running, started
from benchmarks.ends import answer, answering, connect, greet, more_files, sink
from benchmarks.measure import Absent, Figure, Target, figure
from benchmarks.report import progress, run_alone
from benchmarks.traffic import blocks, buffer_of

__all__ = ["TARGETS", "measure"]

START, IDLE, LONG = "memory at start", "1,000 idle sessions above start", "growth in a long session"
SESSIONS = 1_000
SIZE = 2_000_000_000
EARLY = 2
"""Growth is counted from when this part of the long session has passed."""
SETTLE = 0.5
WHO = (contestants.LBCPROXY, contestants.TWISTED, contestants.MITMDUMP_W)
PATIENT = {contestants.MITMDUMP_W: 0.25}
"""How much of the long session for one that would take more memory than is good for the machine."""
TARGETS = (
    Target(work=IDLE, rival=None, ratio=60, at_least=False),
    Target(work=LONG, rival=None, ratio=10, at_least=False),
)


def measure(repeats: int = 3, scale: float = 1.0) -> Iterator[Figure | Absent]:
    """Measure all; `scale` is how many of the sessions and bytes."""
    for contestant in WHO:
        if contestant.absent is not None:
            yield contestant.absent
            continue
        starts, idles, longs = [], [], []
        for number in range(repeats):
            progress(f"memory {number + 1}/{repeats} {contestant.who}")
            start, idle = _idle(contestant, max(1, round(SESSIONS * scale)))
            starts.append(start / 1e6)
            idles.append(idle / 1e6)
            longs.append(_long(contestant, SIZE * scale * PATIENT.get(contestant, 1.0)) / 1e6)
        yield figure(START, contestant.who, starts, "MB")
        yield figure(IDLE, contestant.who, idles, "MB")
        yield figure(LONG, contestant.who, longs, "MB")


def _idle(contestant: Contestant, sessions: int) -> tuple[int, int]:
    """Return the memory at start, and how much more it is with all sessions open."""
    more_files()
    with (
        answering(_answer_all) as (upstream, _),
        started(contestant, upstream) as running,
        contextlib.ExitStack() as stack,
    ):
        time.sleep(SETTLE)
        start = running.resident
        for _ in range(sessions):
            connection = stack.enter_context(contextlib.closing(connect(running.port)))
            greet(connection)
        time.sleep(SETTLE)
        return start, running.resident - start


def _answer_all(listening: socket.socket, _: Connection) -> None:
    more_files()
    connections = []
    while True:
        connection, _ = listening.accept()
        answer(connection)
        connections.append(connection)


def _long(contestant: Contestant, size: float) -> int:
    """Return how much memory grows from early in a long session to its end."""
    buffer, _ = buffer_of(blocks(10, 100_000))
    times = max(EARLY, round(size / len(buffer)))
    with (
        sink(times * len(buffer)) as (upstream, end),
        started(contestant, upstream) as running,
        contextlib.closing(connect(running.port)) as connection,
    ):
        greet(connection)
        for number in range(times):
            connection.sendall(buffer)
            if number == times // EARLY:
                early = _settled(running)
        end.tells()
        return _settled(running) - early


def _settled(running: Running) -> int:
    """Return the memory when nothing waits for the disk: what does is bounded, and no growth."""
    before, now = 0, running.resident
    while now != before:
        time.sleep(SETTLE)
        before, now = now, running.resident
    return now


if __name__ == "__main__":
    run_alone(measure, TARGETS, repeats=3)
