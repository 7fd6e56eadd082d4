"""`lbcproxy record`: the recording of a running proxy, switched on and off; its rings, written."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from lbcproxy.cli.asking import ControlApi, control_option

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
        written = api.ask("POST", f"/rings{name}", meant)["written"]
        click.echo(f"Writing {written} rings; the proxy's log names the files.", err=True)
        return
    if what == "status":
        found = api.ask("GET", f"/recordings{name}")
    else:
        found = api.ask("POST", f"/recordings{name}", {"enabled": what == "on", **meant})
    for each, state in (found if proxy is None else {proxy: found}).items():
        _print(each, state, lambda shown: _is_meant(shown, session, peer))


def _is_meant(shown: dict[str, Any], session: int | None, peer: str | None) -> bool:
    hosts = [shown[end].rpartition(":")[0].strip("[]") for end in ("client", "upstream")]
    return (session is None or shown["session"] == session) and (peer is None or peer in hosts)


def _print(name: str, state: dict[str, Any], meant: Any) -> None:
    words = [f"{name}: {'on' if state['enabled'] else 'off'}"]
    if state["file"] is not None:
        words.append(f"into {state['file']}")
    if state["ring"]:
        words.append(f"ring of {state['ring']:,} messages")
    words += [f"{peer} {'on' if on else 'off'}" for peer, on in state["peers"].items()]
    click.echo(", ".join(words))
    for each in filter(meant, state["sessions"]):
        line = f"  #{each['session']:<4} {each['client']} -> {each['upstream']}"
        line += f"  {each['file'] or 'not recorded'}"
        click.echo(line + (f"  {each['ring']:,} in the ring" if state["ring"] else ""))
