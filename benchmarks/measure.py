"""What all benchmarks give: figures, and the ratios between them that they must reach."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

__all__ = ["US", "Absent", "Figure", "Target", "figure", "find", "timed"]

US = "lbcproxy"


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of one work, done by one program or library."""

    work: str
    who: str
    value: float
    """The median."""
    low: float
    high: float
    unit: str

    @property
    def spread(self) -> float:
        """The highest over the lowest of what was measured."""
        return self.high / self.low if self.low else 0.0


class Absent(msgspec.Struct, frozen=True):
    """A rival that could not be measured, and why: it is named, not left out in silence."""

    who: str
    why: str


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A ratio of two figures of one work that has to be reached.

    `rival` is None where the figure itself is bounded.
    """

    work: str
    rival: str | None
    ratio: float
    at_least: bool = True
    who: str = US


def figure(work: str, who: str, values: Sequence[float], unit: str) -> Figure:
    """Return the median of repeats and how far they spread."""
    middle = statistics.median(values)
    return Figure(work=work, who=who, value=middle, low=min(values), high=max(values), unit=unit)


def timed(do: Callable[[], object], repeats: int, *, warm_up: int = 1) -> Sequence[float]:
    """Do something several times and return the seconds of each; the first do not count."""
    times = []
    for _ in range(warm_up + repeats):
        start = time.perf_counter()
        do()
        times.append(time.perf_counter() - start)
    return times[warm_up:]


def find(figures: Iterable[Figure], work: str, who: str) -> Figure | None:
    """Return one figure, if it was measured."""
    return next((each for each in figures if (each.work, each.who) == (work, who)), None)
