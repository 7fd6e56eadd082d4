"""Measure how the cost of forwarding grows: with the size of messages, with how many sessions.

`python -m benchmarks.growth [--repeats N] [--scale X]`. The bytes are the same in all; what changes
is into how many messages, or over how many sessions at once, they are divided.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from benchmarks.contestants import LBCPROXY, NO_RECORD, TWISTED, Contestant, started
from benchmarks.ends import many_sent, sink
from benchmarks.forward import forward
from benchmarks.measure import Absent, Figure, Target, figure
from benchmarks.report import run_alone
from benchmarks.traffic import blocks, buffer_of, filler, framed
from benchmarks.turns import take_turns
from lbcproxy.wire.messages.inventory import Inv, InventoryVector, InvType

__all__ = ["BY_SESSIONS", "BY_SIZE", "SESSIONS", "SIZES", "TARGETS", "measure"]

BY_SIZE, BY_SESSIONS = "forward messages of {:,} B", "forward through {:,} sessions"
SIZES = (100, 300, 1_000, 10_000, 100_000, 1_000_000, 8_000_000)
SESSIONS = (1, 10, 100, 1_000)
SIZE = 100_000_000
MAX_BLOCK = 4_000_000
WHO = (TWISTED, LBCPROXY, NO_RECORD)
TARGETS: tuple[Target, ...] = ()

Do = Callable[[Contestant], float]
"""Forwards, and gives megabytes a second."""


def measure(repeats: int = 5, scale: float = 1.0) -> Iterator[Figure | Absent]:
    """Measure both kinds of growth; `scale` is how much of the bytes and sessions."""
    works = [(BY_SIZE.format(size), _sized(size, scale)) for size in SIZES]
    for sessions in SESSIONS:
        many = max(1, round(sessions * min(1.0, scale)))
        works.append((BY_SESSIONS.format(sessions), _divided(many, scale)))
    for work, do in works:
        turns = take_turns(work, WHO, repeats, do)
        yield from turns.absent
        for contestant, found in turns.reached.items():
            yield figure(work, contestant.who, found, "MB/s")


def _sized(size: int, scale: float) -> Do:
    def do(contestant: Contestant) -> float:
        buffer, _ = buffer_of(_frames(size))
        times = max(1, round(SIZE * scale / len(buffer)))
        return times * len(buffer) / forward(contestant, buffer, times).passed / 1e6

    return do


def _frames(size: int) -> list[bytes]:
    """Return frames of about a size: blocks, or what is announced in as many bytes."""
    if size > MAX_BLOCK:
        return [filler(size)]
    if size >= 100_000:
        return blocks(10 if size < 1_000_000 else 1, size)
    source = random.Random(size)  # noqa: S311  # nothing secret
    hashes = (source.randbytes(32) for _ in range((size - 25) // 36))
    vectors = tuple(InventoryVector(type=InvType.TX, hash=each) for each in hashes)
    return [framed(Inv(inventory=vectors))]


def _divided(sessions: int, scale: float) -> Do:
    def do(contestant: Contestant) -> float:
        (frame, *_) = blocks(10, 100_000)
        times = max(1, round(SIZE * scale / len(frame) / sessions))
        size = times * sessions * len(frame)
        with (
            sink(size, sessions) as (upstream, end),
            started(contestant, upstream) as running,
            many_sent(running.port, frame, times, sessions) as start,
        ):
            begun = start.tells()
            return size / (end.tells() - begun) / 1e6

    return do


if __name__ == "__main__":
    run_alone(measure, TARGETS, repeats=5)
