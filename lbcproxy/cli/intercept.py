"""`lbcproxy intercept`: messages of a running proxy, held until somebody lets them go."""

from __future__ import annotations

import json
from types import NoneType
from typing import Any, Literal

import click
import msgspec

from lbcproxy.cli.control_client import ControlApi, control_option
from lbcproxy.text import printable

__all__ = ["command"]


@click.command(name="intercept", context_settings={"help_option_names": ["-h", "--help"]})
@control_option
@click.option("--off", is_flag=True, help="Hold nothing any more; release what waits.")
@click.option("--timeout", type=float, metavar="SECONDS", help="How long a message may wait.")
@click.option("--after", type=click.Choice(["release", "drop"]), help="What becomes of it then.")
@click.option("--release", type=int, multiple=True, metavar="N", help="Let a message go.")
@click.option("--drop", type=int, multiple=True, metavar="N", help="Let it not pass.")
@click.option("--edit", type=int, metavar="N", help="Send it with FIELD=VALUE changed.")
@click.option("--raw", metavar="HEX", help="With --edit: send these bytes in its place.")
@click.argument("words", nargs=-1, metavar="[FILTER | FIELD=VALUE ...]")
def command(
    control: str,
    off: bool,
    timeout: float | None,
    after: str | None,
    release: tuple[int, ...],
    drop: tuple[int, ...],
    edit: int | None,
    raw: str | None,
    words: tuple[str, ...],
) -> None:
    """Hold messages that match FILTER, list those that wait, and decide about them.

    The proxy runs with `--control`. Without anything, what waits is listed. What is behind a held
    message in its direction waits too.
    """
    api = ControlApi(control)
    for number in release:
        api.ask("POST", f"/intercept/{number}", NoneType, {"do": "release"})
    for number in drop:
        api.ask("POST", f"/intercept/{number}", NoneType, {"do": "drop"})
    if edit is not None:
        api.ask("POST", f"/intercept/{edit}", NoneType, {"do": "edit", **_edit(raw, words)})
    change: dict[str, Any] = {}
    if off:
        change["filter"] = None
    elif words and edit is None:
        change["filter"] = " ".join(words)
    if timeout is not None:
        change["timeout"] = timeout
    if after is not None:
        change["after"] = after
    method = "POST" if change else "GET"
    _print(api.ask(method, "/intercept", _State, change or None))


class _Held(msgspec.Struct):
    """A message that waits."""

    number: int
    session: int
    direction: Literal["to_upstream", "to_client"]
    command: str
    length: int
    seconds: float
    summary: str


class _State(msgspec.Struct):
    """What is to be held, and what waits."""

    filter: str | None
    timeout: float
    after: str
    held: list[_Held]


def _edit(raw: str | None, words: tuple[str, ...]) -> dict[str, Any]:
    if raw is not None:
        return {"raw": raw}
    fields = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise click.UsageError(f"{word!r} is not FIELD=VALUE")
        try:
            fields[name] = json.loads(text)
        except ValueError:
            fields[name] = text
    if not fields:
        raise click.UsageError("--edit wants FIELD=VALUE, or --raw")
    return {"fields": fields}


def _print(state: _State) -> None:
    if state.filter is None:
        click.echo("nothing is held", err=True)
    else:
        words = f"held: {state.filter}; after {state.timeout:g} s: {state.after}"
        click.echo(printable(words), err=True)
    for each in state.held:
        arrow = "->" if each.direction == "to_upstream" else "<-"
        line = f"{each.number:>4} #{each.session:<3} {arrow}"
        line += f" {printable(each.command):<12} {each.length:>8}B  {each.seconds:>6.1f} s"
        click.echo(f"{line}  {printable(each.summary)}".rstrip())
