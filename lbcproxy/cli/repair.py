"""`lbcproxy repair`: recover the readable part of a damaged capture."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lbcproxy.cli.exit_codes import ExitCode
from lbcproxy.cli.terminal import print_error

if TYPE_CHECKING:
    from lbcproxy.capture.tools.repair import DamageReport

__all__ = ["command"]


@click.command(name="repair", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "out",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Write everything readable to this new file, and leave FILE unchanged.",
)
def command(file: Path, out: Path | None) -> int:
    """Recover the readable part of a damaged capture FILE (pcapng or pcap).

    What a crash leaves at the end of the file, an incomplete packet or zeros, is cut off in place.
    Damage in the middle needs -o OUT, which gets everything readable before and after it. OUT must
    not exist. A file that a running proxy is writing is left alone.
    """
    from lbcproxy.capture.recording.lock import locked

    if out is not None and out.exists():
        raise click.ClickException(f"{out} exists: it is not overwritten")
    with nullcontext() if out is not None else locked(file):
        return _repair(file, out)


def _repair(file: Path, out: Path | None) -> int:
    from lbcproxy.capture.formats import promised_by
    from lbcproxy.capture.tools.repair import copy_intact, cut_tail, find_damage
    from lbcproxy.cli.progress import reading

    with reading(file) as opener, opener(file) as source:
        found = find_damage(source)
    if out is not None and (promised := promised_by(out)) not in (None, found.form):
        raise click.UsageError(f"{out} has the suffix of {promised}, but {file} is {found.form}")
    _print_damage(found)
    if out is not None:
        copy_intact(file, out, found)
        click.echo(f"Wrote {found.packets:,} packets, {found.kept:,} bytes, to {out}.")
    elif not found.damages:
        click.echo(f"{file} is intact: {found.packets:,} packets, {found.size:,} bytes.")
    elif found.only_tail:
        cut_tail(file, found)
        cut = found.size - found.kept
        click.echo(
            f"Cut {cut:,} bytes off {file} at byte {found.kept:,}: "
            f"{found.packets:,} packets, {found.kept:,} bytes, are left."
        )
    else:
        print_error(f"{file} is damaged before its end: nothing was changed")
        click.echo("Hint: -o OUT writes everything readable to a new file", err=True)
        return ExitCode.DAMAGED
    return ExitCode.OK


def _print_damage(found: DamageReport) -> None:
    for each in found.damages:
        size = each.end - each.start
        what = "torn tail" if each.torn else "damage"
        click.echo(f"{what}: {size:,} bytes at byte {each.start:,}: {each.damage}")
