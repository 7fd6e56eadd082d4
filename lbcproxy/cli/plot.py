"""What `lbcproxy info --plot` draws: traffic over time, and response times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lbcproxy.capture.tools.summary import Summary
from lbcproxy.capture.tools.timeline import Timeline
from lbcproxy.text import iso_time, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lbcproxy.capture.tools.response_times import DurationHistogram

__all__ = ["SUFFIXES", "draw", "require_matplotlib"]

SUFFIXES = (".png", ".svg")
WIDTH, HEIGHT = 10.0, 9.5
MAX_BARS = 120
MAX_NAMED = 9
MIN_SHARE = 0.01
"""The share of all messages, or of all bytes, from which a command gets its own colour."""
OTHERS = "others"
ASKED_BY = {"->": "client", "<-": "node"}
# Okabe and Ito's palette, which colour-blind people can distinguish; grey for the others.
COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9"),
    *("#cc79a7", "#f0e442", "#332288", "#000000"),
)
GREY = "#b0b0b0"
UNITS = ((2 * 86_400, "days", 86_400), (7_200, "hours", 3_600), (120, "minutes", 60))


def require_matplotlib() -> None:
    """Raise a ClickException without matplotlib, before time is spent on reading a long file."""
    try:
        import matplotlib as mpl  # noqa: F401
    except ImportError:
        raise click.ClickException(
            "--plot needs matplotlib, which is not installed: pip install 'lbcproxy[plot]'"
        ) from None


def draw(summary: Summary, timeline: Timeline, path: Path) -> None:
    """Draw a summary into a PNG or SVG file, which its suffix chooses.

    Raises:
        OSError: The file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}):
        sheet = Figure((WIDTH, HEIGHT), layout="constrained")
        counts, sizes, times = sheet.subplots(3, 1, height_ratios=(1, 1, 1.1))
        networks = ", ".join(sorted(summary.networks))
        sheet.suptitle(
            f"{printable(summary.capture.path.name, 60)}   {networks}",
            fontsize=11,
            x=0.02,
            ha="left",
        )
        names = _names(timeline)
        sizes.sharex(counts)
        counts.tick_params(labelbottom=False)
        _bars(counts, timeline, names, 0, "messages / s")
        _bars(sizes, timeline, names, 1, "bytes / s")
        if names:
            counts.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, reverse=True)
        _curves(
            times, {} if summary.response_times is None else summary.response_times.histograms()
        )
        # Without a date, the same capture always gives the same file.
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
        sheet.savefig(path, dpi=130, metadata=metadata)


def _names(timeline: Timeline) -> list[str]:
    """Return the commands that get a colour: those with the largest share of messages or bytes."""
    totals = {
        name: [sum(each[what] for each in spans.values()) for what in (0, 1)]
        for name, spans in timeline.spans.items()
    }
    sums = [sum(each[what] for each in totals.values()) or 1 for what in (0, 1)]
    shares = {
        name: max(each[what] / sums[what] for what in (0, 1)) for name, each in totals.items()
    }
    ordered = sorted(shares, key=lambda name: (-shares[name], name))
    named = [name for name in ordered[:MAX_NAMED] if shares[name] >= MIN_SHARE]
    return named + ([OTHERS] if len(ordered) > len(named) else [])


def _colours(names: Sequence[str]) -> list[str]:
    return [GREY if name == OTHERS else COLOURS[at] for at, name in enumerate(names)]


def _bars(axis: Axes, timeline: Timeline, names: Sequence[str], what: int, label: str) -> None:
    """Draw rates as stacked bars, one for each interval of time."""
    spans = timeline.last - timeline.first + 1
    step = -(-spans // MAX_BARS)
    bars = -(-spans // step)
    seconds = step * timeline.width / 1e9
    unit, size = next(
        ((name, size) for least, name, size in UNITS if bars * seconds > least), ("seconds", 1)
    )
    below = [0.0] * bars
    for name, colour in zip(names, _colours(names), strict=True):
        heights = [0.0] * bars
        for each, counted in timeline.spans.items():
            if each == name or (name == OTHERS and each not in names):
                for number, amount in counted.items():
                    heights[(number - timeline.first) // step] += amount[what] / seconds
        axis.bar(
            [number * seconds / size for number in range(bars)],
            heights,
            width=seconds / size,
            bottom=below,
            align="edge",
            color=colour,
            label=printable(name, 20).replace("$", r"\$"),  # otherwise it would start a formula
        )
        below = [one + other for one, other in zip(below, heights, strict=True)]
    begin = iso_time(timeline.first * timeline.width)[:19].replace("T", " ")
    axis.set_ylabel(label)
    axis.yaxis.set_major_formatter(_si)
    axis.grid(axis="y", color="#e5e5e5")
    axis.set_axisbelow(True)
    if not names:
        axis.text(0.5, 0.5, "no messages", transform=axis.transAxes, ha="center", color=GREY)
    elif what == 1:
        axis.set_xlabel(f"{unit} since {begin} UTC, a bar is {seconds / size:.3g} {unit}")


def _curves(axis: Axes, times: Mapping[str, DurationHistogram]) -> None:
    """Draw the cumulative distribution of the response times."""
    axis.set_ylim(0, 1.02)
    axis.set_ylabel("share of the answers")
    axis.set_xlabel("time to the answer")
    if not times:
        axis.text(0.5, 0.5, "no answers", transform=axis.transAxes, ha="center", color=GREY)
        axis.set_xticks([])
        return
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(_time)
    axis.grid(color="#e5e5e5")
    axis.set_axisbelow(True)
    colours: dict[str, str] = {}
    for name, found in times.items():
        pair, _, arrow = name.rpartition(" ")
        colour = colours.setdefault(pair, COLOURS[len(colours) % len(COLOURS)])
        curve = [(max(seconds, 1e-9), part) for seconds, part in found.cumulative()]
        median = found.quantile(0.5)
        axis.step(
            [curve[0][0], *(seconds for seconds, _ in curve)],
            [0.0, *(part for _, part in curve)],
            where="post",
            color=colour,
            linestyle="-" if arrow == "->" else "--",
            label=f"{pair} by {ASKED_BY[arrow]}: {found.count:,}, median {_time(median or 0.0)}",
        )
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _si(value: float, _: object = None) -> str:
    """Return the label of a number at an axis: 1.5 k, 20 M."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _time(seconds: float, _: object = None) -> str:
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= size * 0.999:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
