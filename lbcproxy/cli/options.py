"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypedDict, TypeVar, cast

import click

if TYPE_CHECKING:
    from lbcproxy.faults import Fault
    from lbcproxy.filters import Filter
    from lbcproxy.networks import Network

__all__ = [
    "DisplayOptions",
    "add_options",
    "compare_options",
    "display_options",
    "fault_option",
    "filter_argument",
    "network_option",
    "plugin_option",
    "seed_option",
    "the_faults",
    "the_filter",
    "the_network",
    "transport_option",
]

F = TypeVar("F", bound=Callable[..., object])


class DisplayOptions(TypedDict):
    """The values of the options that `display_options` adds."""

    kind: str
    tree: bool
    hexdump: bool
    fields: tuple[str, ...]


def add_options(command: F, options: Iterable[Callable[[F], F]]) -> F:
    """Add options to a command so that its help lists them in the given order."""
    for option in reversed(list(options)):
        command = option(command)
    return command


def network_option(*, required: bool) -> Callable[[F], F]:
    """Add `--network`, `--magic` and `--signet-challenge`.

    The command gets `network` alone: an id that includes the other two.
    """

    def add(command: F) -> F:
        @functools.wraps(command)
        def with_network(
            *arguments: object,
            network: str | None,
            magic: str | None,
            signet_challenge: str | None,
            **options: object,
        ) -> object:
            name = _network_id(network, magic, signet_challenge)
            if name is None and required:
                raise click.UsageError("Missing option '--network'.")
            return command(*arguments, network=name, **options)

        return add_options(
            cast("F", with_network),
            (
                click.option(
                    "--network",
                    metavar="ID",
                    help="The chain: lbry-mainnet, lbry-regtest, bitcoin-mainnet, ...",
                ),
                click.option(
                    "--magic",
                    metavar="HEX",
                    help="The magic of the network, if it is not the usual one of the chain.",
                ),
                click.option(
                    "--signet-challenge",
                    metavar="HEX",
                    help="Use the signet with this block script (BIP325).",
                ),
            ),
        )

    return add


def _network_id(name: str | None, magic: str | None, signet_challenge: str | None) -> str | None:
    """Return the id for the values of three options; `name` unchanged if it is the only one."""
    if magic is None and signet_challenge is None:
        return name
    from lbcproxy import networks

    if name is None:
        if signet_challenge is None:
            raise click.UsageError("--magic: --network must name the chain that uses this magic")
        name = networks.SIGNET
    option = "--magic" if signet_challenge is None else "--signet-challenge"
    try:
        return networks.custom(name, magic, signet_challenge).id
    except KeyError as error:
        raise click.UsageError(f"--network: {error.args[0]}") from None
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None


def the_network(name: str) -> Network:
    """Return the network with an id; raises UsageError, which lists the known ones."""
    from lbcproxy import networks

    try:
        return networks.get(name)
    except KeyError as error:
        raise click.UsageError(f"--network: {error.args[0]}") from None


def filter_argument(command: F) -> F:
    """Add `[FILTER]`, which may be one quoted argument or several."""
    return click.argument("words", metavar="[FILTER]", nargs=-1)(command)


def the_filter(words: tuple[str, ...], network: Network | None = None) -> Filter | None:
    """Return the filter in the words of the command line, or None if there are none.

    Raises:
        BadFilter: The words are not a filter.
    """
    if not words:
        return None
    from lbcproxy.filters import parse

    return parse(" ".join(words), network)


def transport_option(default: str, text: str) -> Callable[[F], F]:
    """Add `--transport`, which is auto, v1 or v2."""
    return click.option(
        "--transport",
        type=click.Choice(("auto", "v1", "v2")),
        default=default,
        help=f"How the connection carries messages: v1, or v2, which encrypts (BIP324). {text}  "
        f"[default: {default}]",
    )


def plugin_option(text: str) -> Callable[[F], F]:
    """Add `--plugin` with a help text."""
    return click.option(
        "-s",
        "--plugin",
        "plugins",
        multiple=True,
        metavar="'FILE [NAME=VALUE ...]'",
        help=f"{text} Can be repeated.",
    )


def fault_option(text: str) -> Callable[[F], F]:
    """Add `--fault` with a help text."""
    return click.option(
        "--fault",
        "faults",
        multiple=True,
        metavar="'TYPE [NAME=VALUE ...]'",
        help=f"{text} Can be repeated.",
    )


def seed_option(command: F) -> F:
    """Add `--seed`, for faults."""
    return click.option(
        "--seed", type=int, default=0, help="The seed of the random numbers that faults use."
    )(command)


def the_faults(texts: tuple[str, ...]) -> tuple[Fault, ...]:
    """Return the faults that `--fault` names; raises UsageError."""
    from lbcproxy.faults import BadFault, parse_fault

    try:
        return tuple(parse_fault(text) for text in texts)
    except BadFault as error:
        raise click.UsageError(f"--fault: {error}") from None


def display_options(command: F) -> F:
    """Add `-T`, `-V`, `-x` and `-e`, which choose how messages are printed."""
    return add_options(
        command,
        (
            click.option(
                "-T",
                "--type",
                "kind",
                type=click.Choice(["text", "ndjson", "fields"]),
                default="text",
                help="Print readable lines, one JSON object per message, or selected fields.",
            ),
            click.option(
                "-V", "--verbose", "tree", is_flag=True, help="Also print every field, as a tree."
            ),
            click.option(
                "-x", "--hex", "hexdump", is_flag=True, help="Also print the payload in hex."
            ),
            click.option(
                "-e",
                "--field",
                "fields",
                multiple=True,
                metavar="PATH",
                help="With -T fields, a field to print: number, command, message.user_agent, ...",
            ),
        ),
    )


def compare_options(command: F) -> F:
    """Add `--ignore`, `--ignore-heights` and `-T`: what is compared, and how it is printed."""
    return add_options(
        command,
        (
            click.option(
                "--ignore",
                multiple=True,
                metavar="COMMAND[.FIELD]",
                help="Do not compare this field (version.user_agent, block.header.timestamp), or "
                "no message with this command. Can be repeated.",
            ),
            click.option(
                "--ignore-heights", is_flag=True, help="Do not compare the heights of the chains."
            ),
            click.option(
                "-T",
                "--type",
                "kind",
                type=click.Choice(["text", "json"]),
                default="text",
                help="Print readable lines, or one JSON object.",
            ),
        ),
    )
