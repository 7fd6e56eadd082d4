"""`lbcproxy merge`: merge captures into one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from lbcproxy.cli.captures import open_inputs
from lbcproxy.cli.output import OutputOptions, output_options, write_events
from lbcproxy.cli.terminal import print_error

if TYPE_CHECKING:
    from lbcproxy.capture import Event
    from lbcproxy.capture.tools.merge import Merger

__all__ = ["command"]

FORMATS_WITH_NETWORKS = ("ndjson", "pcapng")
"""Formats that name the network of each session."""


@click.command(name="merge", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", nargs=-1, required=True, metavar="IN...", type=click.Path(path_type=Path))
@click.option(
    *("-w", "--write", "target"),
    metavar="OUT",
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
    help="The file to write.",
)
@click.option("-q", "--quiet", is_flag=True, help="Do not list the new number of each session.")
@output_options
def command(
    files: tuple[Path, ...],
    target: Path,
    quiet: bool,
    network: str | None,
    **options: Unpack[OutputOptions],
) -> int:
    """Merge the captures IN, in time order, and write them to OUT.

    The files of a rotated capture become one again: a session that is open at the end of one file
    continues in the next. Sessions are renumbered in the order in which they start; the old and
    new numbers are listed. The suffix of OUT chooses its format. Sessions of different networks
    need pcapng or ndjson, which name the network of each.

    A damaged capture is merged up to the damage, and the exit code is 3.
    """
    from lbcproxy.capture.tools.merge import Merger

    captures = open_inputs(files, network)
    renumbering = _Renumbering(quiet, to_stdout=str(target) == "-")
    merge = Merger(captures, renumbering)
    name = options["form"] or _format_name(target)

    def summary(messages: int) -> list[str]:
        for absent in merge.absent:
            print_error(f"{absent} is not among the files: its messages are missing")
        return [f"Wrote {messages:,} messages of {renumbering.sessions:,} sessions to {target}."]

    return write_events(
        captures,
        merge.events()
        if name in FORMATS_WITH_NETWORKS
        else _of_one_network(merge, renumbering, name),
        target,
        options,
        summary,
    )


class _Renumbering:
    """Prints the new number of each session, and collects the networks of the sessions."""

    def __init__(self, quiet: bool, *, to_stdout: bool) -> None:
        self._quiet = quiet
        self._to_stdout = to_stdout
        self.sessions = 0
        self.networks: dict[str, Path] = {}
        """A file for each network."""

    def __call__(self, path: Path, before: int, after: int, network: str) -> None:
        self.sessions = max(self.sessions, after)
        self.networks.setdefault(network, path)
        if not self._quiet:
            click.echo(f"{path} #{before} is #{after}", err=self._to_stdout)


def _of_one_network(merge: Merger, renumbering: _Renumbering, name: str) -> Iterator[Event]:
    """Yield the merged events; raises CaptureError when a second network appears."""
    from lbcproxy.errors import CaptureError

    for event in merge.events():
        if len(renumbering.networks) > 1:
            found = ", ".join(
                f"{network} in {path}" for network, path in renumbering.networks.items()
            )
            raise CaptureError(
                f"{name} does not name networks, and there are {found}: write pcapng or ndjson"
            )
        yield event


def _format_name(target: Path) -> str:
    from lbcproxy.capture.formats import format_for

    form = format_for(target)
    return "" if form is None else form.name
