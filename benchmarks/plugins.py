"""Measure what a plugin costs that asks for another command than those that pass.

`python -m benchmarks.plugins [--repeats N] [--scale X]`. One leg is recorded in either case. With
plugins a capture has both unless `--legs` says otherwise: twice the bytes for the disk.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.blocks import NETWORK
from benchmarks.contestants import RECORDING, Command, Contestant
from benchmarks.forward import WORKS, forward
from benchmarks.measure import US, Absent, Figure, Target, figure
from benchmarks.report import run_alone
from benchmarks.turns import take_turns

__all__ = ["TARGETS", "measure"]

PLUGIN = ("-s", "fee_filter min_fee=1")
"""It asks for `feefilter`, of which there is none in what passes."""


def _with(*options: str, records: bool) -> Command:
    def command(python: str, listen: int, upstream: int, folder: Path) -> Sequence[object]:
        record = ("-w", folder / RECORDING) if records else ("--no-record",)
        program = (python, "-m", "lbcproxy", "run", "-q", "--network", NETWORK.id)
        return (*program, "--mode", f"reverse:127.0.0.1:{upstream}@{listen}", *record, *options)

    return command


def _contestant(who: str, *options: str, records: bool = True) -> Contestant:
    return Contestant(who, sys.executable, _with(*options, records=records), records=records)


NONE, ONE = f"{US}, no plugin", f"{US}, a plugin that asks for another command"
CONTESTANTS = (
    _contestant(NONE),
    _contestant(ONE, *PLUGIN, "--legs", "client"),
    _contestant(f"{NONE}, --no-record", records=False),
    _contestant(f"{ONE}, --no-record", *PLUGIN, records=False),
)
TARGETS = tuple(
    Target(work=work.name, who=f"{ONE}{how}", rival=f"{NONE}{how}", ratio=0.97)
    for work in WORKS
    for how in ("", ", --no-record")
)


def measure(repeats: int = 5, scale: float = 1.0) -> Iterator[Figure | Absent]:
    """Measure both works of `benchmarks.forward`; `scale` is how much of the bytes."""
    for work in WORKS:
        send = partial(forward, buffer=work.buffer, times=work.times(scale))
        turns = take_turns(work.name, CONTESTANTS, repeats, send)
        yield from turns.absent
        for contestant, found in turns.reached.items():
            speeds = [work.value(work.times(scale), run.passed) for run in found]
            yield figure(work.name, contestant.who, speeds, work.unit)


if __name__ == "__main__":
    run_alone(measure, TARGETS, repeats=5)
