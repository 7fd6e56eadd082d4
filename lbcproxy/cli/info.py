"""`lbcproxy info`: summarise captures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lbcproxy.cli.exit_codes import ExitCode
from lbcproxy.cli.options import network_option, the_network
from lbcproxy.cli.terminal import closed_by_reader, print_error, printing

if TYPE_CHECKING:
    from lbcproxy.capture.tools.summary import Summary
    from lbcproxy.capture.tools.timeline import Timeline
    from lbcproxy.networks import Network

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
    help="Print tables, or one line with a JSON object for each file.",
)
@click.option(
    "--quick",
    is_flag=True,
    help="Do not decode payloads: faster, but finds only errors in headers and checksums.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="IMAGE",
    help="Plot the traffic over time and the response times, as a .png or .svg file.",
)
def command(
    files: tuple[Path, ...], network: str | None, kind: str, quick: bool, plot: Path | None
) -> int:
    """Summarise capture FILEs: peers, times, traffic, rates, response times and errors.

    A damaged capture is summarised up to the damage, and the exit code is 3.
    """
    from lbcproxy.capture import UnknownNetwork
    from lbcproxy.errors import CaptureError

    chain = None if network is None else the_network(network)
    if plot is not None:
        _check_plot(plot, files)
    code = ExitCode.OK
    for file in files:
        try:
            code = max(code, _summarise(file, chain, kind, quick, plot))
        except UnknownNetwork as error:
            code = max(code, _failed(str(error), ExitCode.USAGE))
        except BrokenPipeError:
            closed_by_reader()
            break
        except OSError as error:
            code = max(code, _failed(f"cannot read {file}: {error.strerror}", ExitCode.ERROR))
        except CaptureError as error:
            text = str(error) if str(file) in str(error) else f"{file}: {error}"
            code = max(code, _failed(text, ExitCode.ERROR))
    return code


def _check_plot(plot: Path, files: tuple[Path, ...]) -> None:
    from lbcproxy.cli.plot import SUFFIXES, require_matplotlib

    if plot.suffix.lower() not in SUFFIXES:
        raise click.UsageError(f"--plot {plot}: the name must end with {' or '.join(SUFFIXES)}")
    if len(files) > 1:
        raise click.UsageError("--plot needs exactly one FILE")
    require_matplotlib()


def _summarise(
    file: Path, chain: Network | None, kind: str, quick: bool, plot: Path | None
) -> ExitCode:
    from lbcproxy.capture import open_capture
    from lbcproxy.capture.tools.summary import summarise
    from lbcproxy.capture.tools.timeline import Timeline
    from lbcproxy.cli.progress import reading

    capture = open_capture(file, chain)
    with reading(file) as capture.open_file:
        timeline = None if plot is None else Timeline()
        summary = summarise(capture, decode=not quick, timeline=timeline)
    _print(summary, kind)
    if capture.stats.lost:
        print_error(f"{file}: {capture.stats.lost}")
    if plot is not None and timeline is not None and (error := _plot(summary, timeline, plot)):
        return _failed(f"cannot write {plot}: {error}", ExitCode.ERROR)
    if summary.damage is None:
        return ExitCode.OK
    return _failed(f"{file}: {summary.damage}", ExitCode.DAMAGED)


def _print(summary: Summary, kind: str) -> None:
    import msgspec

    from lbcproxy.cli.report import print_report
    from lbcproxy.text import printable_json

    shown = summary.to_dict()
    with printing():
        if kind == "json":
            print(printable_json(msgspec.json.encode(shown).decode()))
        else:
            print_report(shown, sys.stdout)
        sys.stdout.flush()


def _plot(summary: Summary, timeline: Timeline, plot: Path) -> str:
    """Draw a summary; return why it cannot be written, empty if it can."""
    from lbcproxy.cli.plot import draw

    try:
        draw(summary, timeline, plot)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _failed(text: str, code: ExitCode) -> ExitCode:
    print_error(text)
    return code
