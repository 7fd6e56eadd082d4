"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from lbcproxy.faults import Fault
    from lbcproxy.filters import Filter

__all__ = [
    "compare_options",
    "fault_option",
    "filter_argument",
    "look_options",
    "network_option",
    "the_faults",
    "the_filter",
    "the_network",
]

F = TypeVar("F", bound=Callable[..., Any])


def network_option(*, required: bool) -> Callable[[F], F]:
    """Add `--network`, with `--magic` and `--signet-challenge`, which say more of the same.

    The command is given `network` alone: an id that names the magic as well.
    """

    def add(command: F) -> F:
        @functools.wraps(command)
        def with_network(
            *arguments: Any,
            network: str | None,
            magic: str | None,
            signet_challenge: str | None,
            **options: Any,
        ) -> Any:
            name = _own_network(network, magic, signet_challenge)
            if name is None and required:
                raise click.UsageError("Missing option '--network'.")
            return command(*arguments, network=name, **options)

        made: Any = with_network
        for option in (
            click.option(
                "--signet-challenge",
                metavar="HEX",
                help="The chain is the signet with this block script (BIP325).",
            ),
            click.option(
                "--magic", metavar="HEX", help="Its magic, where that is another than usual."
            ),
            click.option(
                "--network",
                metavar="ID",
                help="The chain: lbry-mainnet, lbry-regtest, bitcoin-mainnet, ...",
            ),
        ):
            made = option(made)
        return cast("F", made)

    return add


def _own_network(name: str | None, magic: str | None, signet_challenge: str | None) -> str | None:
    """Return the id of what three options say; as it is where only the first is given."""
    if magic is None and signet_challenge is None:
        return name
    from lbcproxy import networks

    if name is None:
        if signet_challenge is None:
            raise click.UsageError("--magic: say with --network which network it is like")
        name = networks.SIGNET
    option = "--magic" if signet_challenge is None else "--signet-challenge"
    try:
        return networks.custom(name, magic, signet_challenge).id
    except KeyError as error:
        raise click.UsageError(f"--network: {error.args[0]}") from None
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None


def the_network(name: str) -> Any:
    """Give the network of an id, or say as a usage error which there are."""
    from lbcproxy import networks

    try:
        return networks.get(name)
    except KeyError as error:
        raise click.UsageError(f"--network: {error.args[0]}") from None


def filter_argument(command: F) -> F:
    """Add `[FILTER]`: its words may stand alone or together in quotes."""
    return click.argument("words", metavar="[FILTER]", nargs=-1)(command)


def the_filter(words: tuple[str, ...], network: Any = None) -> Filter | None:
    """Give the filter that some words say, None if there are none; raises BadFilter."""
    if not words:
        return None
    from lbcproxy.filters import parse

    return parse(" ".join(words), network)


def fault_option(words: str) -> Callable[[F], F]:
    """Add `--fault`."""
    return click.option(
        "--fault",
        "faults",
        multiple=True,
        metavar="'TYPE [NAME=VALUE ...]'",
        help=f"{words} May be given several times.",
    )


def the_faults(texts: tuple[str, ...]) -> tuple[Fault, ...]:
    """Give the faults that some texts say, or say as a usage error what is wrong."""
    from lbcproxy.faults import BadFault, parse_fault

    try:
        return tuple(parse_fault(text) for text in texts)
    except BadFault as error:
        raise click.UsageError(f"--fault: {error}") from None


def look_options(command: F) -> F:
    """Add `-T`, `-V`, `-x` and `-e`: how messages are printed."""
    for option in (
        click.option(
            "-e",
            "--field",
            "fields",
            multiple=True,
            metavar="PATH",
            help="With -T fields: what to print, as number, command or message.user_agent.",
        ),
        click.option(
            "-x", "--hex", "hexdump", is_flag=True, help="Add the payload in hexadecimal."
        ),
        click.option("-V", "--verbose", "tree", is_flag=True, help="Add every field, as a tree."),
        click.option(
            "-T",
            "--type",
            "kind",
            type=click.Choice(["text", "ndjson", "fields"]),
            default="text",
            help="Lines for people, one JSON object a message, or chosen fields.",
        ),
    ):
        command = option(command)
    return command


def compare_options(command: F) -> F:
    """Add `-T`, `--ignore` and `--ignore-heights`: what is compared, and how it is told."""
    for option in (
        click.option(
            "-T",
            "--type",
            "kind",
            type=click.Choice(["text", "json"]),
            default="text",
            help="Lines for people, or one JSON object.",
        ),
        click.option(
            "--ignore-heights", is_flag=True, help="Do not compare how long the chains are."
        ),
        click.option(
            "--ignore",
            multiple=True,
            metavar="COMMAND[.FIELD]",
            help="Do not compare this field, as version.user_agent or block.header.timestamp, or "
            "no message of this command. May be given several times.",
        ),
    ):
        command = option(command)
    return command
