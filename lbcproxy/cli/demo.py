"""`lbcproxy demo`: the main job with no set-up."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lbcproxy.errors import LbcproxyError

if TYPE_CHECKING:
    from lbcproxy.proxy import ProxyService

__all__ = ["command"]

NETWORK = "lbry-regtest"
CAPTURE = "lbcd-sync.pcap"
PATTERN = "captures/%Y%m%d-%H%M%S-demo.pcapng"
PATIENCE = 30.0


@click.command(name="demo", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-w",
    "--write",
    "path",
    metavar="FILE",
    help="Record to FILE instead of a new one in captures/.",
)
def command(path: str | None) -> int:
    """Watch a recorded conversation of two LBRY nodes pass through a real proxy.

    Plays both sides of a capture of lbcd over loopback: a fresh node syncs 302 blocks, then the
    two relay transactions with claims and mine them. The proxy between them shows and records
    every message; in the end the recording is compared with what was played.
    """
    from twisted.internet import reactor  # noqa: TID251  # the one place: the program's edge

    from lbcproxy import resources
    from lbcproxy.background import Background
    from lbcproxy.capture import MOST_WAITING, Recording, RecordingSettings, open_capture
    from lbcproxy.cli.console import Console
    from lbcproxy.cli.formatter import make_look
    from lbcproxy.cli.show import colours, finish, output_to, width_of
    from lbcproxy.service import Events, Logs, run_reactor

    stream = sys.stderr if path == "-" else sys.stdout
    colour = colours(stream)
    output = output_to(stream)
    look = make_look(
        "text", tree=False, hexdump=False, fields=(), colour=colour, width=width_of(stream)
    )
    console = Console(look, output, output, colour=colour)
    logs = Logs(console.line)
    logs.set(level="info", path=None, json=False)
    logs.begin()
    played = list(open_capture(resources.folder("captures") / CAPTURE, NETWORK))
    disk = Background(MOST_WAITING)
    recording = Recording(
        RecordingSettings(pattern=path or PATTERN),
        disk,
        console.line,
        network=NETWORK,
        name="demo",
        changes=False,
    )
    recording.open()
    file = recording.last
    assert file is not None
    events = Events()
    demo = _Demo(reactor, played, [recording, events, console])
    began = time.monotonic()
    try:
        code = run_reactor(demo.run, demo.stop, demo.abort, reactor)
    finally:
        logs.end()
        recording.close()
        disk.close(PATIENCE)
        printed = finish(output)
    if not demo.completed:
        click.echo("stopped before the end", err=True)
    elif path != "-":
        _compare(played, Path(file.path), file.continued)
        _farewell(events, file.path, time.monotonic() - began)
    return code if printed else 1


class _Demo:
    """An embedded node, a proxy, a client."""

    def __init__(self, reactor: Any, played: list[Any], observers: list[Any]) -> None:
        from lbcproxy.replay import Play

        self._reactor = reactor
        self._play = Play([(entry.direction, entry.raw) for entry in played], reactor)
        self._node: Any = None
        self.completed = False
        self._observers = observers
        self._service: ProxyService | None = None

    async def run(self) -> int:
        from twisted.internet.endpoints import (
            TCP4ClientEndpoint,
            TCP4ServerEndpoint,
            connectProtocol,
        )

        from lbcproxy import networks
        from lbcproxy.endpoint import Endpoint
        from lbcproxy.proxy import Mode, ProxyService, ProxySettings

        here = "127.0.0.1"
        listening = TCP4ServerEndpoint(self._reactor, 0, interface=here)
        self._node = await listening.listen(self._play.node())
        upstream = Endpoint(here, self._node.getHost().port)
        settings = ProxySettings(
            network=networks.get(NETWORK),
            modes=(Mode("reverse", (upstream,), Endpoint(here, 0)),),
            stream_above=None,
        )
        self._service = ProxyService(self._reactor, settings, self._observers)
        [mode] = await self._service.listen()
        client = TCP4ClientEndpoint(self._reactor, here, mode.listen.port)
        await connectProtocol(client, self._play.client())
        await self._play.done
        await self.stop()
        self.completed = True
        return 0

    def stop(self) -> Any:
        from twisted.internet.defer import DeferredList, maybeDeferred

        ends = [] if self._service is None else [self._service.stopService()]
        if self._node is not None:
            ends.append(maybeDeferred(self._node.stopListening))
        return DeferredList(ends)

    def abort(self) -> None:
        if self._service is not None:
            self._service.abort()


def _compare(played: list[Any], recorded: Path, continued: bool) -> None:
    """Hold what was recorded against what was played, message by message."""
    from lbcproxy.capture import open_capture

    got = [(entry.direction, entry.raw) for entry in open_capture(recorded)]
    want = [(entry.direction, entry.raw) for entry in played]
    if continued:
        got = got[-len(want) :]
    if got != want:
        equal = [one == other for one, other in zip(got, want, strict=False)]
        place = equal.index(False) if False in equal else len(equal)
        raise LbcproxyError(
            f"THE RECORDING DIFFERS from what was played: {len(got)} messages for {len(want)}, "
            f"the first difference at message {place + 1}, in {recorded}"
        )


def next_steps(path: str) -> str:
    """Say what to type next, in two columns."""
    steps = {
        f"lbcproxy show {path}": "the same lines again",
        f"lbcproxy show -V {path} | less": "every field",
        "lbcproxy run --network lbry-mainnet --mode reverse:HOST:9246@9246": "your own nodes",
        f"wireshark {path}": "the connection in Wireshark",
    }
    width = max(map(len, steps))
    return "\n".join(f"    {step:<{width}}  {what}" for step, what in steps.items())


def _farewell(events: Any, path: str, seconds: float) -> None:
    total = events.commands.total()
    commands = ", ".join(f"{count} {name}" for name, count in events.commands.most_common(6))
    click.echo(
        f"""
{total} messages of two real LBRY nodes passed through the proxy in {seconds:.1f} s: {commands}, ...
The recording equals what was played, byte for byte. It lies in

    {path}

What next:
{next_steps(path)}
"""
    )
