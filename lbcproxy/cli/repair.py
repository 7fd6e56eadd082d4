"""`lbcproxy repair`: keep what is whole of a damaged capture."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

__all__ = ["command"]


@click.command(name="repair", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "out",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Write what is whole into a new file, and leave FILE as it is.",
)
def command(file: Path, out: Path | None) -> int:
    """Keep what is whole of a damaged capture FILE (pcapng or pcap).

    What a crash leaves at the end, the beginning of a packet or zeros, is cut off in place. Damage
    in the middle needs -o OUT: everything readable before and behind it is written there. OUT must
    not exist. A file that a running proxy writes is not touched.
    """
    from lbcproxy.capture.recording.lock import locked

    if out is not None and out.exists():
        raise click.ClickException(f"{out} exists: it is not written over")
    with nullcontext() if out is not None else locked(file):
        return _repair(file, out)


def _repair(file: Path, out: Path | None) -> int:
    from lbcproxy.capture.formats import promised_by
    from lbcproxy.capture.tools.repair import copy_whole, cut_tail, survey
    from lbcproxy.cli.main import DAMAGED
    from lbcproxy.cli.progress import reading

    with reading(file) as opened, opened(file) as source:
        found = survey(source)
    if out is not None and (promised := promised_by(out)) not in (None, found.form):
        raise click.UsageError(f"{out} promises {promised}, and {file} is {found.form}")
    for each in found.damages:
        click.echo(_said(each))
    if out is not None:
        copy_whole(file, out, found)
        click.echo(f"Wrote {found.packets:,} packets, {found.kept:,} bytes, to {out}.")
    elif not found.damages:
        click.echo(f"{file} is whole: {found.packets:,} packets, {found.size:,} bytes.")
    elif found.only_tail:
        cut_tail(file, found)
        cut = found.size - found.kept
        click.echo(
            f"Cut {cut:,} bytes off {file} at byte {found.kept:,}: "
            f"{found.packets:,} packets, {found.kept:,} bytes, are left."
        )
    else:
        click.echo(f"lbcproxy: {file} is damaged before its end: nothing was changed", err=True)
        click.echo("Hint: -o OUT writes what is readable into a new file", err=True)
        return DAMAGED
    return 0


def _said(damage: Any) -> str:
    size = damage.end - damage.start
    what = "torn tail" if damage.torn else "damage"
    return f"{what}: {size:,} bytes at byte {damage.start:,}: {damage.damage}"
