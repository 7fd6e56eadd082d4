"""`lbcproxy decrypt`: decrypt a captured connection with a key log."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import click

from lbcproxy.cli.captures import key_log_option, open_for_command, read_key_log
from lbcproxy.cli.options import the_network
from lbcproxy.cli.output import OutputOptions, output_options, write_capture

__all__ = ["command"]


@click.command(name="decrypt", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="DUMP", type=click.Path(path_type=Path))
@key_log_option(required=True)
@click.option(
    "-w",
    "--write",
    "target",
    metavar="OUT",
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
    help="The capture to write; - is standard output.",
)
@output_options
def command(
    source: Path, keys: Path, target: Path, network: str | None, **options: Unpack[OutputOptions]
) -> int:
    """Decrypt the encrypted (BIP324) connections in DUMP, and write their messages to OUT.

    DUMP is a capture of tcpdump or Wireshark. The key log has the secrets of its connections;
    docs/encrypted.md describes the format, so that nodes and other programs can write it. Each
    message becomes the frame that it would have been without encryption, so Wireshark and all
    commands can read OUT.

    A connection is decrypted from its beginning. After a gap, the rest of a direction cannot be
    decrypted; it is counted and reported.
    """
    chain = None if network is None else the_network(network)
    capture = open_for_command(source, chain, read_key_log(keys))
    return write_capture(capture, target, options)
