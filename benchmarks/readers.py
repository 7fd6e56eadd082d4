"""Measure what reading costs: relay of blocks that nobody reads, and that somebody decodes.

`python -m benchmarks.readers [--repeats N] [--scale X]`. The claim is that a message nobody reads
costs next to nothing: that it is found and its checksum compared, and no more. The relay is
lbcproxy's, in a program that records nothing (`benchmarks/rivals/relay.py`); the reader is an
observer that looks at every message's error, for which it is decoded. Beside it a plain forward.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.contestants import TWISTED, Command, Contestant
from benchmarks.forward import forward
from benchmarks.measure import Absent, Figure, Target, figure
from benchmarks.report import run_alone
from benchmarks.traffic import blocks, buffer_of
from benchmarks.turns import take_turns

__all__ = ["TARGETS", "measure"]

WORK = "relay of 1 MB blocks"
SIZE = 1_000_000_000


def _relay(reads: str) -> Command:
    def command(python: str, listen: int, upstream: int, _: Path) -> Sequence[object]:
        return (python, "-m", "benchmarks.rivals.relay", listen, upstream, reads)

    return command


UNWATCHED = Contestant("lbcproxy, nobody watches", sys.executable, _relay("unwatched"))
UNREAD = Contestant("lbcproxy, nobody reads", sys.executable, _relay("unread"))
READ = Contestant("lbcproxy, all is decoded", sys.executable, _relay("read"))
TARGETS = (Target(work=WORK, who=UNREAD.who, rival=TWISTED.who, ratio=0.5),)
"""What is not saved is the checksum: SHA-256 of every byte takes about as long as passing it on."""


def measure(repeats: int = 7, scale: float = 1.0) -> Iterator[Figure | Absent]:
    """Measure the four; `scale` is how much of the bytes."""
    buffer, _ = buffer_of(blocks(4, 1_000_000), 4_000_000)
    times = max(1, round(SIZE * scale / len(buffer)))

    def do(contestant: Contestant) -> float:
        return times * len(buffer) / forward(contestant, buffer, times).passed / 1e6

    turns = take_turns(WORK, (TWISTED, UNWATCHED, UNREAD, READ), repeats, do)
    yield from turns.absent
    for contestant, found in turns.reached.items():
        yield figure(WORK, contestant.who, found, "MB/s")


if __name__ == "__main__":
    run_alone(measure, TARGETS, repeats=7)
