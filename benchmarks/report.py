"""Show figures: as tables for a terminal or a page, and held against their targets."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from benchmarks.measure import Absent, Figure, Target, find

__all__ = ["FAILS", "Held", "held", "markdown", "plain", "progress", "run_alone", "tables"]

FAILS = 0.6
"""Below this part of its target a row does not only miss it, it fails (issue 6)."""

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""A heading and rows."""


class Held(msgspec.Struct, frozen=True):
    """A target, and what was reached of it; None if something for it was not measured."""

    target: Target
    reached: float | None

    @property
    def verdict(self) -> str:
        """Say it in a word or two."""
        if self.reached is None:
            return "not measured"
        part = self.reached / self.target.ratio
        if not self.target.at_least:
            part = 1 / part if part > 0 else float("inf")
        return "met" if part >= 1 else "not met" if part >= FAILS else "failed"


def progress(text: str) -> None:
    """Say on the standard error what is going on."""
    print(text, file=sys.stderr, flush=True)


def held(figures: Sequence[Figure], targets: Iterable[Target]) -> Iterator[Held]:
    """Hold figures against targets."""
    for target in targets:
        ours = find(figures, target.work, target.who)
        theirs = None if target.rival is None else find(figures, target.work, target.rival)
        if ours is None or (target.rival is not None and theirs is None):
            yield Held(target, None)
        else:
            yield Held(target, ours.value / (theirs.value if theirs is not None else 1.0))


def tables(
    figures: Sequence[Figure], absent: Iterable[Absent], targets: Iterable[Target]
) -> Iterator[Table]:
    """Return tables of the figures, of the targets, and of what was not measured."""
    rows: list[tuple[str, ...]] = [
        (each.work, each.who, number(each.value), each.unit, number(each.low), number(each.high))
        for each in figures
    ]
    if rows:
        yield ("work", "who", "median", "unit", "lowest", "highest"), rows
    rows = [
        (
            each.target.work,
            each.target.who,
            each.target.rival or "(the figure itself)",
            f"{'>=' if each.target.at_least else '<='} {number(each.target.ratio)}",
            "-" if each.reached is None else number(each.reached),
            each.verdict,
        )
        for each in held(figures, targets)
    ]
    if rows:
        yield ("work", "who", "against", "target", "reached", ""), rows
    rows = list(dict.fromkeys((each.who, each.why) for each in absent))
    if rows:
        yield ("not measured", "why"), rows


def plain(table: Table) -> str:
    """Return a table for a terminal."""
    heading, rows = table
    widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if is_number(cell) else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in (heading, *rows)
    )


def markdown(table: Table) -> str:
    """Return a table for a page."""
    heading, rows = table
    lines = [heading, ("---",) * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Write a number with three digits that mean something, or more before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def is_number(cell: str) -> bool:
    """Whether a cell belongs to the right."""
    return cell.replace(",", "").replace(".", "").isdigit()


def run_alone(
    measure: Callable[..., Iterator[Figure | Absent]], targets: Sequence[Target], repeats: int
) -> None:
    """Measure what one module measures, and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=repeats, help=f"default {repeats}")
    parser.add_argument("--scale", type=float, default=1.0, help="how much of the bytes or counts")
    options = parser.parse_args()
    found = list(measure(options.repeats, options.scale))
    figures = [each for each in found if isinstance(each, Figure)]
    absent = [each for each in found if isinstance(each, Absent)]
    for table in tables(figures, absent, targets):
        print(plain(table), end="\n\n")
