"""`lbcproxy intercept`: hold messages of a running proxy and decide about them by hand."""

from __future__ import annotations

import json
from types import NoneType
from typing import Literal

import click
import msgspec

from lbcproxy.cli.control_client import ControlClient, control_option
from lbcproxy.text import printable

__all__ = ["command"]


@click.command(name="intercept", context_settings={"help_option_names": ["-h", "--help"]})
@control_option
@click.option("--off", is_flag=True, help="Stop holding messages, and release the held ones.")
@click.option("--timeout", type=float, metavar="SECONDS", help="How long a message is held.")
@click.option(
    "--after", type=click.Choice(["release", "drop"]), help="What happens to it after that."
)
@click.option("--release", type=int, multiple=True, metavar="N", help="Release message N.")
@click.option("--drop", type=int, multiple=True, metavar="N", help="Drop message N.")
@click.option(
    "--edit", type=int, metavar="N", help="Release message N with each FIELD set to VALUE."
)
@click.option("--raw", metavar="HEX", help="With --edit: release these bytes instead.")
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
    """Hold the messages that match FILTER, list the held ones, and decide about them.

    The proxy must run with `--control`. Without options, the held messages are listed. Later
    messages in the same direction wait until a held message has been released or dropped.
    """
    client = ControlClient(control)
    for number in release:
        client.request("POST", f"/intercept/{number}", NoneType, {"do": "release"})
    for number in drop:
        client.request("POST", f"/intercept/{number}", NoneType, {"do": "drop"})
    if edit is not None:
        body = {"do": "edit", **_edit_body(raw, words)}
        client.request("POST", f"/intercept/{edit}", NoneType, body)
    change: dict[str, str | float | None] = {}
    if off:
        change["filter"] = None
    elif words and edit is None:
        change["filter"] = " ".join(words)
    if timeout is not None:
        change["timeout"] = timeout
    if after is not None:
        change["after"] = after
    method = "POST" if change else "GET"
    _print(client.request(method, "/intercept", _InterceptState, change or None))


class _HeldMessage(msgspec.Struct):
    """A message that is being held."""

    number: int
    session: int
    direction: Literal["to_upstream", "to_client"]
    command: str
    length: int
    seconds: float
    summary: str


class _InterceptState(msgspec.Struct):
    """Which messages are held, and the ones that are."""

    filter: str | None
    timeout: float
    after: str
    held: list[_HeldMessage]


def _edit_body(raw: str | None, words: tuple[str, ...]) -> dict[str, object]:
    """Return what a request says about an edit; raises UsageError."""
    if raw is not None:
        return {"raw": raw}
    fields: dict[str, object] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise click.UsageError(f"{word!r} is not FIELD=VALUE")
        try:
            fields[name] = json.loads(text)
        except ValueError:
            fields[name] = text
    if not fields:
        raise click.UsageError("--edit needs FIELD=VALUE, or --raw")
    return {"fields": fields}


def _print(state: _InterceptState) -> None:
    if state.filter is None:
        click.echo("nothing is held", err=True)
    else:
        summary = f"held: {state.filter}; after {state.timeout:g} s: {state.after}"
        click.echo(printable(summary), err=True)
    for each in state.held:
        arrow = "->" if each.direction == "to_upstream" else "<-"
        line = f"{each.number:>4} #{each.session:<3} {arrow}"
        line += f" {printable(each.command):<12} {each.length:>8}B  {each.seconds:>6.1f} s"
        click.echo(f"{line}  {printable(each.summary)}".rstrip())
