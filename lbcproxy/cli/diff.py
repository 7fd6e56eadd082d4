"""`lbcproxy diff`: compare two captures as conversations."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypedDict

import click

from lbcproxy.cli.captures import open_for_command
from lbcproxy.cli.options import compare_options, network_option, the_network

if TYPE_CHECKING:
    from lbcproxy.replay import ComparisonReport

__all__ = ["command", "print_report", "print_title", "report_painter"]

PAIR = re.compile(r"([1-9][0-9]*):([1-9][0-9]*)")


class Style(TypedDict, total=False):
    """How `click.style` prints a part of a report."""

    fg: str
    bold: bool
    dim: bool


STYLES: dict[str, Style] = {
    "arrow to_upstream": {"fg": "blue"},
    "arrow to_client": {"fg": "cyan"},
    "command": {"fg": "green"},
    "recorded": {"fg": "red"},
    "live": {"fg": "green"},
    "head": {"bold": True},
    "dim": {"dim": True},
}


@click.command(name="diff", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("one", metavar="A", type=click.Path(path_type=Path))
@click.argument("other", metavar="B", type=click.Path(path_type=Path))
@click.option(
    "--session",
    "pair",
    metavar="N:M",
    help="Compare session N of A with session M of B. By default the first sessions are compared "
    "with each other, then the second ones, and so on.",
)
@network_option(required=False)
@compare_options
def command(
    one: Path,
    other: Path,
    pair: str | None,
    network: str | None,
    ignore: tuple[str, ...],
    ignore_heights: bool,
    kind: str,
) -> int:
    """Compare two captures as conversations.

    Messages are matched by their content, separately in each direction, regardless of their order
    and times. Nonces, times, addresses and the number of pings are not compared; docs/replay.md
    lists everything that is not. The exit code is 0 if there is no difference, 4 if there is one.
    """
    from lbcproxy.capture import UnknownNetwork
    from lbcproxy.cli.progress import reading
    from lbcproxy.replay import Diff, IgnoredFields

    match = PAIR.fullmatch(pair) if pair is not None else None
    if pair is not None and match is None:
        raise click.UsageError(f"--session: {pair!r} is not N:M, two session numbers")
    only = (int(match[1]), int(match[2])) if match is not None else None
    chain = None if network is None else the_network(network)
    ignored = IgnoredFields(ignore, heights=ignore_heights)
    captures = open_for_command(one, chain), open_for_command(other, chain)
    diff = Diff(*captures, ignored, only=only)
    try:
        with reading(one) as captures[0].open_file:  # both files are read in parallel
            report = diff.run()
    except UnknownNetwork as error:
        raise click.UsageError(str(error)) from None
    if kind == "text":
        print_title(report.names, (str(one), str(other)))
    print_report(report, kind)
    if diff.damage is not None:
        raise diff.damage
    return report.exit_code


def print_title(
    names: tuple[str, str], sources: tuple[str, str], stream: TextIO | None = None
) -> None:
    """Print what the two compared sides are, to standard output or another stream."""
    from lbcproxy.text import printable

    width = max(map(len, names))
    for name, source in zip(names, sources, strict=True):
        print(f"{name:<{width}}  {printable(source)}", file=stream)


def print_report(report: ComparisonReport, kind: str, stream: TextIO | None = None) -> None:
    """Print a report as lines, in colour on a terminal, or as one JSON object."""
    from lbcproxy.cli.terminal import closed_by_reader, has_colours
    from lbcproxy.text import printable_json

    stream = stream or sys.stdout
    try:
        if kind == "json":
            text = json.dumps(report.to_dict(), ensure_ascii=False)
            print(printable_json(text), file=stream)
        else:
            for line in report.lines(report_painter(has_colours(stream))):
                print(line, file=stream)
        stream.flush()
    except BrokenPipeError:
        closed_by_reader()


def report_painter(colour: bool) -> Callable[[str, str], str]:
    """Return a function that colours a part of a report, given its text and what it is."""

    def paint(text: str, what: str) -> str:
        return click.style(text, **STYLES.get(what, {"fg": "yellow"})) if colour else text

    return paint
