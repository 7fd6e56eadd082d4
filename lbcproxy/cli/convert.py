"""`lbcproxy convert`: write a capture in another format."""

from __future__ import annotations

from pathlib import Path

import click

from lbcproxy.cli.output import output_options, the_captures, write_events

__all__ = ["command"]


@click.command(name="convert", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="IN", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path, allow_dash=True))
@output_options
def command(
    source: Path,
    target: Path,
    form: str | None,
    network: str | None,
    force: bool,
    in_place: bool,
) -> int:
    """Write the capture IN in another format, into OUT.

    pcapng holds all; ndjson too; pcap what Wireshark needs; core is the folder of Bitcoin Core's
    -capturemessages. OUT may end in .gz or .zst, and - is the standard input or output. What the
    format of OUT cannot hold is said. docs/captures.md has a table of that.

    A damaged file is converted as far as it is good; the exit code is 3 then.
    """
    [capture] = the_captures([source], network)

    def done(messages: int) -> list[str]:
        if str(target) == "-":
            return []
        return [f"Wrote {messages:,} messages of {capture.sessions:,} sessions to {target}."]

    return write_events(
        [capture],
        capture.events(),
        target,
        form=form,
        force=force,
        in_place=in_place,
        done=done,
    )
