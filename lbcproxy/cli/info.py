"""`lbcproxy info`: what is in captures, in numbers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from lbcproxy.cli.options import network_option, the_network

__all__ = ["command"]


@click.command(name="info", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@network_option(required=False)
@click.option(
    "-T",
    "--type",
    "kind",
    type=click.Choice(["text", "json"]),
    default="text",
    help="Tables for people, or one JSON object a file, each on a line.",
)
@click.option(
    "--quick",
    is_flag=True,
    help="Decode no payloads: faster, and of errors only those that frames show.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="IMAGE",
    help="Draw what passed when, and answer times: a file .png or .svg.",
)
def command(
    files: tuple[Path, ...], network: str | None, kind: str, quick: bool, plot: Path | None
) -> int:
    """Tell what is in capture FILEs: who, when, how much, how fast, and what is wrong.

    A damaged file is told of as far as it is good; the exit code is 3 then.
    """
    from lbcproxy.capture import UnknownNetwork
    from lbcproxy.cli.show import reader_gone
    from lbcproxy.errors import CaptureError

    chain = None if network is None else the_network(network)
    if plot is not None:
        _check_plot(plot, files)
    code = 0
    for file in files:
        try:
            code = max(code, _one(file, chain, kind, quick, plot))
        except UnknownNetwork as error:
            code = max(code, _failed(str(error), 2))
        except BrokenPipeError:
            reader_gone()
            break
        except OSError as error:
            code = max(code, _failed(f"cannot read {file}: {error.strerror}", 1))
        except CaptureError as error:
            text = str(error)
            code = max(code, _failed(text if str(file) in text else f"{file}: {text}", 1))
    return code


def _check_plot(plot: Path, files: tuple[Path, ...]) -> None:
    from lbcproxy.cli.plot import SUFFIXES, require_matplotlib

    if plot.suffix.lower() not in SUFFIXES:
        raise click.UsageError(f"--plot {plot}: the name is to end with {' or '.join(SUFFIXES)}")
    if len(files) > 1:
        raise click.UsageError("--plot draws one capture: give one FILE")
    require_matplotlib()


def _one(file: Path, chain: Any, kind: str, quick: bool, plot: Path | None) -> int:
    import msgspec

    from lbcproxy.capture import open_capture
    from lbcproxy.capture.tools.summary import summarise
    from lbcproxy.capture.tools.timeline import Timeline
    from lbcproxy.cli.main import DAMAGED
    from lbcproxy.cli.progress import reading
    from lbcproxy.cli.report import print_report
    from lbcproxy.cli.show import printing
    from lbcproxy.text import printable_json

    capture = open_capture(file, chain)
    with reading(file) as capture.open_file:
        timeline = None if plot is None else Timeline()
        summary = summarise(capture, decode=not quick, timeline=timeline)
    shown = summary.to_dict()
    with printing():
        if kind == "json":
            print(printable_json(msgspec.json.encode(shown).decode()))
        else:
            print_report(shown, sys.stdout)
        sys.stdout.flush()
    if capture.stats.lost:
        click.echo(f"lbcproxy: {file}: {capture.stats.lost}", err=True)
    if plot is not None and timeline is not None:
        from lbcproxy.cli.plot import draw

        try:
            draw(summary, timeline, plot)
        except OSError as error:
            return _failed(f"cannot write {plot}: {error.strerror}", 1)
    if summary.damage is None:
        return 0
    return _failed(f"{file}: {summary.damage}", DAMAGED)


def _failed(text: str, code: int) -> int:
    click.echo(f"lbcproxy: {text}", err=True)
    return code
