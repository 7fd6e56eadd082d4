"""`lbcproxy diff`: two captures compared as conversations."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lbcproxy.cli.options import compare_options, network_option, the_network

if TYPE_CHECKING:
    from lbcproxy.replay import Report

__all__ = ["command", "painted", "print_report"]

PAIR = re.compile(r"([1-9][0-9]*):([1-9][0-9]*)")
COLOURS: dict[str, dict[str, Any]] = {
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
    help="Compare session N of A with session M of B. Otherwise the first with the first, the "
    "second with the second, and so on.",
)
@network_option(required=False)
@compare_options
def command(
    one: Path, other: Path, pair: str | None, network: str | None, kind: str, **rest: Any
) -> int:
    """Compare two captures as conversations.

    Messages are matched by what they say, in each direction, whatever the order and the time in
    which they came. Not looked at are nonces, times and addresses, and how often a side pings;
    docs/replay.md has the list. The exit code is 0 if there is no difference, 4 if there is one.
    """
    from lbcproxy.capture import UnknownNetwork, open_capture
    from lbcproxy.cli.progress import reading
    from lbcproxy.replay import Diff, Ignored

    found = PAIR.fullmatch(pair) if pair is not None else None
    if pair is not None and found is None:
        raise click.UsageError(f"--session: {pair!r} is not N:M, two numbers of sessions")
    only = (int(found[1]), int(found[2])) if found is not None else None
    chain = None if network is None else the_network(network)
    ignored = Ignored(rest["ignore"], heights=rest["ignore_heights"])
    captures = []
    for path in (one, other):
        try:
            captures.append(open_capture(path, chain))
        except OSError as error:
            raise click.ClickException(f"cannot read {path}: {error.strerror}") from None
    comparing = Diff(captures[0], captures[1], ignored, only=only)
    try:
        with reading(one) as captures[0].open_file:  # both are read side by side
            report = comparing.run()
    except UnknownNetwork as error:
        raise click.UsageError(str(error)) from None
    if kind == "text":
        print_title(report.names, (str(one), str(other)))
    print_report(report, kind)
    if comparing.damage is not None:
        raise comparing.damage
    return report.exit_code


def print_title(names: tuple[str, str], whats: tuple[str, str], stream: Any = None) -> None:
    """Say what the two sides are, to the standard output or another stream."""
    from lbcproxy.text import printable

    wide = max(map(len, names))
    for name, what in zip(names, whats, strict=True):
        print(f"{name:<{wide}}  {printable(what)}", file=stream)


def print_report(report: Report, kind: str, stream: Any = None) -> None:
    """Print a report as lines or as one JSON object; on a terminal in colours."""
    from lbcproxy.cli.show import colours, reader_gone
    from lbcproxy.text import printable_json

    stream = stream or sys.stdout
    try:
        if kind == "json":
            text = json.dumps(report.to_dict(), ensure_ascii=False)
            print(printable_json(text), file=stream)
        else:
            for line in report.lines(painted(colours(stream))):
                print(line, file=stream)
        stream.flush()
    except BrokenPipeError:
        reader_gone()


def painted(colour: bool) -> Any:
    """Give what colours the parts of a report."""

    def paint(text: str, what: str) -> str:
        if not colour:
            return text
        return click.style(text, **COLOURS.get(what, {"fg": "yellow"}))

    return paint
