"""`lbcproxy decode`: decode one payload to JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from lbcproxy.cli.options import network_option, the_network
from lbcproxy.cli.terminal import print_error

if TYPE_CHECKING:
    from lbcproxy.networks import Network
    from lbcproxy.wire.partial import Partial
    from lbcproxy.wire.record import MessageRecord

__all__ = ["command"]


@click.command(name="decode", context_settings={"help_option_names": ["-h", "--help"]})
@network_option(required=True)
@click.option(
    "--protocol-version",
    type=click.IntRange(0, 0xFFFFFFFF),
    metavar="N",
    help="The version that the two nodes negotiated. The default is the highest one that the "
    "nodes of the chain support.",
)
@click.option(
    "--encoding",
    type=click.Choice(["auto", "base", "witness"]),
    default="auto",
    help="The encoding of transactions; auto tries both.",
)
@click.option(
    "-V", "--verbose", "tree", is_flag=True, help="Print a tree, with addresses and claims."
)
@click.argument("name", metavar="COMMAND")
@click.argument("payload", metavar="HEX")
def command(
    network: str, protocol_version: int | None, encoding: str, tree: bool, name: str, payload: str
) -> None:
    """Decode HEX, the payload of a message COMMAND; - reads it from standard input.

    If the payload is malformed, the fields before the error are printed first.
    """
    from lbcproxy import wire

    chain = the_network(network)
    codec = wire.Codec(chain, protocol_version, encoding)
    text = sys.stdin.read() if payload == "-" else payload
    try:
        data = bytes.fromhex(text)
    except ValueError as error:
        raise click.UsageError(f"HEX: {error}") from None
    try:
        record = codec.decode(name, data)
    except wire.BadPayload:
        partial = codec.partial(name, data)
        if partial is not None:
            _print(partial, chain, tree)
        raise
    _print(record, chain, tree)
    if record.trailing:
        print_error(f"{len(record.trailing)} trailing bytes: {record.trailing.hex()}")


def _print(record: MessageRecord | Partial, chain: Network, as_tree: bool) -> None:
    from lbcproxy.cli.tree import tree

    if as_tree:
        click.echo("\n".join(line[4:] for line in tree(record, chain)))
    else:
        click.echo(json.dumps(record.to_dict(), indent=2))
