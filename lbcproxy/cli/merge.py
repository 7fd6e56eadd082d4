"""`lbcproxy merge`: several captures as one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from lbcproxy.cli.output import output_options, the_captures, write_events

__all__ = ["command"]

NAMING = ("ndjson", "pcapng")
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
@click.option("-q", "--quiet", is_flag=True, help="Do not say what became of each session.")
@output_options
def command(
    files: tuple[Path, ...],
    target: Path,
    quiet: bool,
    form: str | None,
    network: str | None,
    force: bool,
    in_place: bool,
) -> int:
    """Put captures IN together, in the order of time, into one: -w OUT.

    The parts of a rotated capture become one again: a session that is open where a file ends goes
    on in the next. Sessions are numbered anew, as they begin; which was which is said. The format
    of OUT is that of its suffix. Sessions of different networks fit into a pcapng or ndjson, which
    name them.

    Of damaged files what is before the damage is there; the exit code is 3 then.
    """
    from lbcproxy.capture.tools.merge import Merge

    captures = the_captures(files, network)
    told = _Told(quiet, to_pipe=str(target) == "-")
    merging = Merge(captures, told)
    name = form or _name_of(target)

    def done(messages: int) -> list[str]:
        for absent in merging.absent:
            click.echo(
                f"lbcproxy: {absent} is not among the files: what it holds is missing", err=True
            )
        return [f"Wrote {messages:,} messages of {told.sessions:,} sessions to {target}."]

    return write_events(
        captures,
        merging.events() if name in NAMING else _of_one_network(merging, told, name),
        target,
        form=form,
        force=force,
        in_place=in_place,
        done=done,
    )


class _Told:
    """Says what became of sessions, and remembers of which networks they are."""

    def __init__(self, quiet: bool, *, to_pipe: bool) -> None:
        self._quiet = quiet
        self._to_pipe = to_pipe
        self.sessions = 0
        self.networks: dict[str, Path] = {}

    def __call__(self, path: Path, before: int, after: int, network: str) -> None:
        self.sessions = max(self.sessions, after)
        self.networks.setdefault(network, path)
        if not self._quiet:
            click.echo(f"{path} #{before} is #{after}", err=self._to_pipe)


def _of_one_network(merging: Any, told: _Told, name: str) -> Iterator[Any]:
    from lbcproxy.errors import CaptureError

    for event in merging.events():
        if len(told.networks) > 1:
            found = ", ".join(f"{network} in {path}" for network, path in told.networks.items())
            raise CaptureError(
                f"{name} does not name networks, and there are {found}: write a pcapng or ndjson"
            )
        yield event


def _name_of(target: Path) -> str:
    from lbcproxy.capture.formats import format_for

    form = format_for(target)
    return "" if form is None else form.name
