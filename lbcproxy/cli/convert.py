"""`lbcproxy convert`: convert a capture to another format."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import click

from lbcproxy.cli.captures import open_inputs
from lbcproxy.cli.output import OutputOptions, output_options, write_capture

__all__ = ["command"]


@click.command(name="convert", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="IN", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path, allow_dash=True))
@output_options
def command(
    source: Path, target: Path, network: str | None, **options: Unpack[OutputOptions]
) -> int:
    """Convert the capture IN to another format and write it to OUT.

    pcapng and ndjson hold everything. pcap holds what Wireshark needs. core is the folder format
    of Bitcoin Core's -capturemessages. OUT may end in .gz or .zst; - is standard input or output.
    What the format of OUT cannot hold is reported; docs/captures.md has a table of it.

    A damaged capture is converted up to the damage, and the exit code is 3.
    """
    [capture] = open_inputs([source], network)
    return write_capture(capture, target, options)
