"""`lbcproxy record`: the recording of a running proxy, switched on and off; its rings, written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import click
import msgspec

from lbcproxy.cli.control_client import ControlApi, control_option
from lbcproxy.text import printable

__all__ = ["command"]


@click.command(name="record", context_settings={"help_option_names": ["-h", "--help"]})
@control_option
@click.option("--session", type=int, metavar="N", help="Only session N.")
@click.option("--peer", metavar="HOST", help="Only sessions with this host, those to come too.")
@click.argument("what", type=click.Choice(["status", "on", "off", "dump"]), default="status")
@click.argument("proxy", required=False)
def command(
    control: str, session: int | None, peer: str | None, what: str, proxy: str | None
) -> None:
    """Switch the recording of a running proxy on and off, or write its rings.

    The proxy runs with `--control`. Without PROXY all proxies are meant. status, the default, tells
    what is recorded where; dump writes the rings of the sessions there are, each into a file.
    """
    if session is not None and peer is not None:
        raise click.UsageError("--session and --peer exclude each other")
    api = ControlApi(control)
    meant: dict[str, Any] = {}
    if session is not None:
        meant["session"] = session
    if peer is not None:
        meant["peer"] = peer
    name = "" if proxy is None else f"/{quote(proxy, safe='')}"
    if what == "dump":
        written = api.ask("POST", f"/rings{name}", _Written, meant).written
        click.echo(f"Writing {written} rings; the proxy's log names the files.", err=True)
        return
    method, body = "GET", None
    if what != "status":
        method, body = "POST", {"enabled": what == "on", **meant}
    if proxy is None:
        found = api.ask(method, "/recordings", dict[str, _State], body)
        if not found and what != "status":
            raise click.ClickException(f"there is no proxy at {control}: nothing is recorded")
    else:
        found = {proxy: api.ask(method, f"/recordings{name}", _State, body)}
    for each, state in found.items():
        _print(each, state, lambda shown: _is_meant(shown, session, peer))


class _Written(msgspec.Struct):
    """How many rings are being written."""

    written: int


class _Session(msgspec.Struct):
    """A session, and what is recorded of it."""

    session: int
    client: str
    upstream: str
    file: str | None
    ring: int


class _State(msgspec.Struct):
    """What is recorded of a proxy."""

    enabled: bool
    peers: dict[str, bool]
    file: str | None
    ring: int
    sessions: list[_Session]


def _is_meant(shown: _Session, session: int | None, peer: str | None) -> bool:
    hosts = [end.rpartition(":")[0].strip("[]") for end in (shown.client, shown.upstream)]
    return (session is None or shown.session == session) and (peer is None or peer in hosts)


def _print(name: str, state: _State, meant: Callable[[_Session], bool]) -> None:
    words = [f"{name}: {'on' if state.enabled else 'off'}"]
    if state.file is not None:
        words.append(f"into {state.file}")
    if state.ring:
        words.append(f"ring of {state.ring:,} messages")
    words += [f"{peer} {'on' if on else 'off'}" for peer, on in state.peers.items()]
    click.echo(printable(", ".join(words)))
    for each in filter(meant, state.sessions):
        line = f"  #{each.session:<4} {each.client} -> {each.upstream}"
        line += f"  {each.file or 'not recorded'}"
        line += f"  {each.ring:,} in the ring" if state.ring else ""
        click.echo(printable(line))
