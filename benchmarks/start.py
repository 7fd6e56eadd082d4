"""Measure how soon there is help, and how soon the proxy takes clients.

`python -m benchmarks.start [--repeats N]`. Wall time of new processes, in turns; Python's own start
and that with Twisted's reactor are shown beside them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contestants import LBCPROXY, ROOT, started
from benchmarks.measure import US, Absent, Figure, Target, figure
from benchmarks.report import progress, run_alone

__all__ = ["TARGETS", "measure"]

HELP, READY = "--help", "ready to accept"
SCRIPT = Path(sys.executable).with_name("lbcproxy")
COMMANDS = {
    (HELP, US): (SCRIPT, "--help"),
    ("python -c pass", "Python"): (sys.executable, "-c", "pass"),
    ("import of the reactor", "Twisted"): (
        sys.executable,
        "-c",
        "from twisted.internet import reactor, protocol",
    ),
}
TARGETS = (
    Target(work=HELP, rival=None, ratio=0.2, at_least=False),
    Target(work=READY, rival=None, ratio=0.6, at_least=False),
)


def measure(repeats: int = 15, scale: float = 1.0) -> Iterator[Figure | Absent]:  # noqa: ARG001
    """Measure them; there is nothing to scale."""
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(1 + repeats):
        progress(f"start {number}/{repeats}")
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(list(map(str, command)), cwd=ROOT, check=True, capture_output=True)  # noqa: S603
            times[name].append(time.perf_counter() - start)
        start = time.perf_counter()
        with started(LBCPROXY, upstream=9):  # nobody will ask to be led there
            times[READY, US].append(time.perf_counter() - start)
    for (work, who), found in times.items():
        yield figure(work, who, found[1:], "s")  # the first is to warm up


if __name__ == "__main__":
    run_alone(measure, TARGETS, repeats=15)
