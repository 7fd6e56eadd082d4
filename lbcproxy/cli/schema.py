"""`lbcproxy schema`: the fields of a message."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command(name="schema", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", metavar="[COMMAND]", required=False)
def command(name: str | None) -> None:
    """Describe the fields of the message COMMAND; without one, list all commands."""
    from lbcproxy.wire.registry import OPAQUE, commands, record_of

    if name is None:
        for each in commands():
            click.echo(f"{each:<12}  {_first_line(record_of(each))}")
        return
    if name in OPAQUE:
        click.echo(f"{name}: known ({OPAQUE[name]}), passed and recorded unread")
        return
    record = record_of(name)
    if record is None:
        raise click.UsageError(f"no record for {name!r}; there are {', '.join(commands())}")
    _print(record)


def _first_line(record: object) -> str:
    return (record.__doc__ or "").splitlines()[0]


def _print(record: type) -> None:
    from lbcproxy import networks
    from lbcproxy.wire.rules import ByChain, Params, bound
    from lbcproxy.wire.schema import describe, limit_words

    click.echo(f"{record.command}: {record.__doc__}".rstrip())  # type: ignore[attr-defined]
    maximum = record.maximum  # type: ignore[attr-defined]
    words = limit_words(maximum, "bytes")
    if isinstance(maximum, ByChain):
        sizes = [
            f"{bound(maximum, Params(chain.rules, 0, witness=True)):,} on {chain.family}"
            for chain in (networks.get("lbry-mainnet"), networks.get("bitcoin-mainnet"))
        ]
        words = f"bytes: {', '.join(sizes)}"
    click.echo(f"\npayload, at most {words}")
    if record.since:  # type: ignore[attr-defined]
        click.echo(f"legal from protocol version {record.since} on")  # type: ignore[attr-defined]
    rows = [(each.name, each.type, each.bytes, each.limit, each.when) for each in describe(record)]
    if not rows:
        click.echo("no fields")
        return
    _table([("field", "type", "bytes", "at most", "there"), *rows])


def _table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    click.echo("")
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
