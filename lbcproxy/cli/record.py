"""`lbcproxy record`: turn recording in a running proxy on or off, and write its rings."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import click
import msgspec

from lbcproxy.cli.control_client import ControlClient, control_option
from lbcproxy.text import printable

__all__ = ["command"]


@click.command(name="record", context_settings={"help_option_names": ["-h", "--help"]})
@control_option
@click.option("--session", type=int, metavar="N", help="Only session N.")
@click.option("--peer", metavar="HOST", help="Only sessions with this host, including later ones.")
@click.argument("what", type=click.Choice(["status", "on", "off", "dump"]), default="status")
@click.argument("proxy", required=False)
def command(
    control: str, session: int | None, peer: str | None, what: str, proxy: str | None
) -> None:
    """Turn recording in a running proxy on or off, or write its rings.

    The proxy must run with `--control`. Without PROXY, the command applies to all proxies. status,
    the default, prints what is recorded and where. dump writes the ring of each open session to a
    file of its own.
    """
    if session is not None and peer is not None:
        raise click.UsageError("--session and --peer exclude each other")
    client = ControlClient(control)
    selection: dict[str, object] = {}
    if session is not None:
        selection["session"] = session
    if peer is not None:
        selection["peer"] = peer
    name = "" if proxy is None else f"/{quote(proxy, safe='')}"
    if what == "dump":
        written = client.request("POST", f"/rings{name}", _RingsWritten, selection).written
        click.echo(f"Writing {written} rings; the proxy's log names the files.", err=True)
        return
    method, body = "GET", None
    if what != "status":
        method, body = "POST", {"enabled": what == "on", **selection}
    if proxy is None:
        found = client.request(method, "/recordings", dict[str, _ProxyRecording], body)
        if not found and what != "status":
            raise click.ClickException(f"there is no proxy at {control}: nothing is recorded")
    else:
        found = {proxy: client.request(method, f"/recordings{name}", _ProxyRecording, body)}
    for each, state in found.items():
        _print(each, state, lambda shown: _is_selected(shown, session, peer))


class _RingsWritten(msgspec.Struct):
    """How many rings are being written."""

    written: int


class _SessionRecording(msgspec.Struct):
    """A session, and what is recorded of it."""

    session: int
    client: str
    upstream: str
    file: str | None
    ring: int


class _ProxyRecording(msgspec.Struct):
    """What is recorded of a proxy's sessions."""

    enabled: bool
    peers: dict[str, bool]
    file: str | None
    ring: int
    sessions: list[_SessionRecording]


def _is_selected(shown: _SessionRecording, session: int | None, peer: str | None) -> bool:
    hosts = [end.rpartition(":")[0].strip("[]") for end in (shown.client, shown.upstream)]
    return (session is None or shown.session == session) and (peer is None or peer in hosts)


def _print(
    name: str, state: _ProxyRecording, is_selected: Callable[[_SessionRecording], bool]
) -> None:
    parts = [f"{name}: {'on' if state.enabled else 'off'}"]
    if state.file is not None:
        parts.append(f"into {state.file}")
    if state.ring:
        parts.append(f"ring of {state.ring:,} messages")
    parts += [f"{peer} {'on' if on else 'off'}" for peer, on in state.peers.items()]
    click.echo(printable(", ".join(parts)))
    for each in filter(is_selected, state.sessions):
        line = f"  #{each.session:<4} {each.client} -> {each.upstream}"
        line += f"  {each.file or 'not recorded'}"
        line += f"  {each.ring:,} in the ring" if each.ring else ""
        click.echo(printable(line))
