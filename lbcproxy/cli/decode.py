"""`lbcproxy decode`: one payload to JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from lbcproxy.cli.options import network_option, the_network

__all__ = ["command"]


@click.command(name="decode", context_settings={"help_option_names": ["-h", "--help"]})
@network_option(required=True)
@click.option(
    "--protocol-version",
    type=click.IntRange(0, 0xFFFFFFFF),
    metavar="N",
    help="The version the two nodes agreed on; left out, the highest the chain's nodes speak.",
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
    """Decode the payload HEX of a message COMMAND (`-` reads it from the standard input).

    Of a payload that cannot be read to its end, what can be is printed before the error.
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
        record: Any = codec.decode(name, data)
    except wire.BadPayload:
        record = codec.partial(name, data)
        if record is not None:
            _print(record, chain, tree)
        raise
    _print(record, chain, tree)
    if record.trailing:
        click.echo(
            f"lbcproxy: {len(record.trailing)} trailing bytes: {record.trailing.hex()}", err=True
        )


def _print(record: Any, chain: Any, tree: bool) -> None:
    from lbcproxy.cli.tree import tree as tree_of

    if tree:
        click.echo("\n".join(line[4:] for line in tree_of(record, chain)))
    else:
        click.echo(json.dumps(record.to_dict(), indent=2))
