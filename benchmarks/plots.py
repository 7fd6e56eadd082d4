"""Draw figures: who forwards how fast, and how the cost grows. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import contestants, growth
from benchmarks.forward import WORKS
from benchmarks.measure import US, Figure, find

__all__ = ["draw"]

WIDTH, HEIGHT = 9.0, 3.6
OURS, OTHERS = "#c0392b", "#7f8c8d"


def draw(figures: Sequence[Figure], folder: Path) -> list[Path]:
    """Write what there are figures for into a folder, as SVG; return the files."""
    from matplotlib.figure import Figure as Sheet

    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, fill in (("forward", _bars), ("growth", _curves)):
        sheet = Sheet((WIDTH, HEIGHT), layout="constrained")
        if fill(figures, sheet.subplots(1, 2)):
            path = folder / f"{name}.svg"
            # Without a date, the same figures give the same file.
            sheet.savefig(path, metadata={"Date": None})
            made.append(path)
    return made


def _bars(figures: Sequence[Figure], axes: Iterable[Any]) -> bool:
    """Draw a bar for each contestant, for long and for short messages."""
    drawn = False
    for work, axis in zip(WORKS, axes, strict=True):
        found = [find(figures, work.name, each.who) for each in contestants.ALL]
        shown = [each for each in found if each is not None and each.who != "direct"][::-1]
        drawn |= bool(shown)
        bars = axis.barh(
            [each.who for each in shown],
            [each.value for each in shown],
            xerr=[
                [each.value - each.low for each in shown],
                [each.high - each.value for each in shown],
            ],
            color=[OURS if each.who.startswith(US) else OTHERS for each in shown],
        )
        axis.bar_label(bars, [f"{each.value:,.0f}" for each in shown], padding=4, fontsize=8)
        axis.margins(x=0.3)
        axis.set_title(f"{work.name}, {work.unit}", fontsize=10)
    return drawn


def _curves(figures: Sequence[Figure], axes: Iterable[Any]) -> bool:
    """Draw megabytes a second against the size of messages and the number of sessions."""
    kinds = (
        (growth.BY_SIZE, growth.SIZES, "bytes of a message"),
        (growth.BY_SESSIONS, growth.SESSIONS, "sessions at once"),
    )
    drawn = [_curve(figures, axis, *kind) for kind, axis in zip(kinds, axes, strict=True)]
    return any(drawn)


def _curve(
    figures: Sequence[Figure], axis: Any, work: str, points: Sequence[int], label: str
) -> bool:
    name: Callable[[int], str] = work.format
    drawn = False
    for contestant in growth.WHO:
        found = [(point, find(figures, name(point), contestant.who)) for point in points]
        there = [(point, each.value) for point, each in found if each is not None]
        if there:
            drawn = True
            axis.plot(*zip(*there, strict=True), marker="o", markersize=3, label=contestant.who)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel(label)
    axis.set_ylabel("MB/s")
    axis.grid(visible=True, alpha=0.3)
    if drawn:
        axis.legend(fontsize=8)
    return drawn
