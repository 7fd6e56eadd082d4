"""Measure forwarding: how fast long and short messages pass through a program.

`python -m benchmarks.forward [--repeats N] [--scale X]`. A sender and a sink, each a process, with
one program between them, started again each time. The time is that from the first byte sent to the
last received. Contestants take turns, so that what disturbs the machine meets all of them. Each
recording is looked at before it is deleted: who has lost something takes part no longer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import msgspec

from benchmarks import contestants
from benchmarks.contestants import Contestant, started
from benchmarks.ends import Far, sent, sink
from benchmarks.measure import Absent, Figure, Target, figure
from benchmarks.report import run_alone
from benchmarks.traffic import blocks, buffer_of, transactions
from benchmarks.turns import take_turns

__all__ = ["TARGETS", "WORKS", "Run", "Work", "forward", "forward_between", "measure"]


class Work(msgspec.Struct, frozen=True):
    """What is to be forwarded: a buffer, several times."""

    name: str
    buffer: bytes
    messages: int
    """In the buffer."""
    size: int
    """Bytes to send in all, at scale 1."""
    unit: str

    def times(self, scale: float) -> int:
        """How often the buffer is sent."""
        return max(1, round(self.size * scale / len(self.buffer)))

    def value(self, times: int, seconds: float) -> float:
        """Return the speed in the unit."""
        if self.unit == "MB/s":
            return times * len(self.buffer) / seconds / 1e6
        return times * self.messages / seconds


class Run(msgspec.Struct, frozen=True):
    """One buffer forwarded several times; all in seconds."""

    passed: float
    """Until the last byte was there."""
    ended: float
    """Until the program had ended, its recording with it."""
    cpu: float
    """Processor time it took, all told."""

    def __str__(self) -> str:
        return f"{self.passed:.2f} s"


LONG = "forward 100 kB messages"
SHORT = "forward 300 B messages"
WORKS = (
    Work(LONG, *buffer_of(blocks(10, 100_000)), 1_000_000_000, "MB/s"),
    Work(SHORT, *buffer_of(transactions(3_500)), 200_000_000, "messages/s"),
)
RECORDED = "{}, until recorded"
"""Recorders are compared by this too: mitmdump writes only when a connection has ended."""
TARGETS = (
    Target(work=LONG, rival="HAProxy", ratio=0.33),
    Target(work=LONG, rival="mitmdump -w", ratio=3.0),
    Target(work=RECORDED.format(LONG), rival="mitmdump -w", ratio=3.0),
    Target(work=SHORT, rival=None, ratio=200_000),
    Target(work=SHORT, rival="mitmdump -w", ratio=0.7),
    Target(work=RECORDED.format(SHORT), rival="mitmdump -w", ratio=0.7),
)


def measure(repeats: int = 7, scale: float = 1.0) -> Iterator[Figure | Absent]:
    """Measure both works of all contestants; `scale` is how much of the bytes."""
    present = []
    for contestant in contestants.ALL:
        if contestant.absent is None:
            present.append(contestant)
        else:
            yield contestant.absent
    for work in WORKS:
        yield from _measure(work, present, repeats, scale)


def _measure(
    work: Work, present: Sequence[Contestant], repeats: int, scale: float
) -> Iterator[Figure | Absent]:
    times = work.times(scale)
    turns = take_turns(work.name, present, repeats, lambda each: forward(each, work.buffer, times))
    yield from turns.absent
    runs = turns.reached
    for contestant, found in runs.items():
        speeds = [work.value(times, run.passed) for run in found]
        yield figure(work.name, contestant.who, speeds, work.unit)
    for contestant, found in runs.items():
        if contestant.records:
            speeds = [work.value(times, run.ended) for run in found]
            yield figure(RECORDED.format(work.name), contestant.who, speeds, work.unit)
    for contestant, found in runs.items():
        if contestant is not contestants.DIRECT:
            each = [run.cpu / times / len(work.buffer) * 1e9 for run in found]
            yield figure(f"{work.name}, processor time", contestant.who, each, "s/GB")


def forward(contestant: Contestant, buffer: bytes, times: int) -> Run:
    """Send a buffer several times through a contestant and take the time."""
    size = times * len(buffer)
    return forward_between(contestant, size, sink(size), lambda port: sent(port, buffer, times))


def forward_between(
    contestant: Contestant,
    size: int,
    receiver: AbstractContextManager[tuple[int, Far]],
    sender: Callable[[int], AbstractContextManager[Far]],
) -> Run:
    """Take the time from a sender to a receiver; a recording has at least `size` bytes."""
    os.sync()  # what others have left to be written is not this one's to wait for
    with receiver as (upstream, end), started(contestant, upstream) as running:
        with sender(running.port) as start:
            begun, done = start.tells(), end.tells()
        running.end()
        if contestant.records and running.recorded < size:
            raise RuntimeError(f"{contestant.who} has recorded {running.recorded:,} of {size:,}")
    return Run(done - begun, running.ended - begun, running.cpu)


if __name__ == "__main__":
    run_alone(measure, TARGETS, repeats=7)
