"""`lbcproxy schema`: describe the fields of a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lbcproxy.wire.record import MessageRecord

__all__ = ["command"]


@click.command(name="schema", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", metavar="[COMMAND]", required=False)
def command(name: str | None) -> None:
    """Describe the fields of the message COMMAND, or list all commands."""
    from lbcproxy.wire.registry import OPAQUE, commands, record_of

    if name is None:
        for each in commands():
            click.echo(f"{each:<12}  {_summary(record_of(each))}")
        return
    if name in OPAQUE:
        click.echo(f"{name}: known ({OPAQUE[name]}), passed and recorded without being decoded")
        return
    record = record_of(name)
    if record is None:
        raise click.UsageError(f"no record for {name!r}; there are {', '.join(commands())}")
    _print(record)


def _summary(record: object) -> str:
    return (record.__doc__ or "").splitlines()[0]


def _print(record: type[MessageRecord]) -> None:
    from lbcproxy.wire.schema import describe

    click.echo(f"{record.command}: {record.__doc__}".rstrip())
    click.echo(f"\npayload, at most {_max_payload(record)}")
    if record.since:
        click.echo(f"valid from protocol version {record.since} on")
    rows = [(each.name, each.type, each.bytes, each.limit, each.when) for each in describe(record)]
    if not rows:
        click.echo("no fields")
        return
    _print_table([("field", "type", "bytes", "maximum", "present"), *rows])


def _max_payload(record: type[MessageRecord]) -> str:
    from lbcproxy import networks
    from lbcproxy.wire.rules import ByChain, Params, bound
    from lbcproxy.wire.schema import describe_limit

    maximum = record.maximum
    if not isinstance(maximum, ByChain):
        return describe_limit(maximum, "bytes")
    sizes = [
        f"{bound(maximum, Params(chain.rules, 0, witness=True)):,} on {chain.family}"
        for chain in (networks.get("lbry-mainnet"), networks.get("bitcoin-mainnet"))
    ]
    return f"bytes: {', '.join(sizes)}"


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    click.echo("")
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
