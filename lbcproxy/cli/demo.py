"""`lbcproxy demo`: the proxy at work, without any set-up."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lbcproxy.errors import LbcproxyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred

    from lbcproxy.background import Background, PlainOutput, TextOutput
    from lbcproxy.capture import Recording
    from lbcproxy.cli.console import Console
    from lbcproxy.proxy import ProxyService
    from lbcproxy.reactor import ListeningPort, Reactor
    from lbcproxy.service import Events
    from lbcproxy.session import Entry, Observer

__all__ = ["command", "next_steps"]

NETWORK = "lbry-regtest"
CAPTURE = "lbcd-sync.pcap"
PATTERN = "captures/%Y%m%d-%H%M%S-demo.pcapng"
DISK_TIMEOUT = 30.0


@click.command(name="demo", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-w",
    "--write",
    "path",
    metavar="FILE",
    help="Record to FILE. The default is a new file in captures/.",
)
@click.option(
    "--transport",
    type=click.Choice(("v1", "v2")),
    default="v1",
    help="How both sides speak to the proxy: v1, or v2, which encrypts (BIP324).  [default: v1]",
)
def command(path: str | None, transport: str) -> int:
    """Watch a recorded conversation between two LBRY nodes pass through a real proxy.

    The demo plays both sides of a capture of lbcd over loopback: a new node syncs 302 blocks, then
    the two relay transactions with claims and mine them. The proxy between them shows and records
    every message. At the end, the recording is compared with what was played.
    """
    encrypts = transport == "v2"
    if encrypts:
        from lbcproxy.transport.curve import require_libraries

        require_libraries()
    from lbcproxy import resources
    from lbcproxy.capture import open_capture
    from lbcproxy.cli.console import Console
    from lbcproxy.cli.formatter import TEXT, formatter_for
    from lbcproxy.cli.terminal import background_output, has_colours

    stream = sys.stderr if path == "-" else sys.stdout
    output = background_output(stream)
    console = Console(formatter_for(TEXT, stream), output, output, colour=has_colours(stream))
    played = list(open_capture(resources.folder("captures") / CAPTURE, NETWORK))
    return _play(played, path, console, output, encrypts=encrypts)


def _play(
    played: Sequence[Entry],
    path: str | None,
    console: Console,
    output: PlainOutput | TextOutput,
    *,
    encrypts: bool,
) -> int:
    """Play the capture through a proxy; return the exit code."""
    from lbcproxy.cli.reactor import the_reactor
    from lbcproxy.cli.terminal import drain
    from lbcproxy.service import Events, Logs, run_reactor

    logs = Logs(console.line)
    logs.set(level="info", path=None, json=False)
    logs.begin()
    recording, disk = _open_recording(path or PATTERN, console)
    file = recording.last
    assert file is not None
    events = Events()
    reactor = the_reactor()
    demo = _Demo(reactor, played, [recording, events, console], encrypts=encrypts)
    started = time.monotonic()
    try:
        code = run_reactor(demo.run, demo.stop, demo.abort, reactor)
    finally:
        logs.end()
        recording.close()
        disk.close(DISK_TIMEOUT)
        printed = drain(output)
    if not demo.completed:
        click.echo("stopped before the end", err=True)
    elif path != "-":
        _compare(played, Path(file.path), file.continued)
        _print_result(events, file.path, time.monotonic() - started, encrypts=encrypts)
    return code if printed else 1


def _open_recording(pattern: str, console: Console) -> tuple[Recording, Background]:
    from lbcproxy.background import Background
    from lbcproxy.capture import MAX_QUEUED, Recording, RecordingSettings

    disk = Background(MAX_QUEUED)
    recording = Recording(
        RecordingSettings(pattern=pattern),
        disk,
        console.line,
        network=NETWORK,
        name="demo",
        changes=False,
    )
    recording.open()
    return recording, disk


class _Demo:
    """An embedded node, a proxy and a client."""

    def __init__(
        self,
        reactor: Reactor,
        played: Sequence[Entry],
        observers: Sequence[Observer],
        *,
        encrypts: bool,
    ) -> None:
        from lbcproxy import networks
        from lbcproxy.replay import Play

        self._reactor = reactor
        self._network = networks.get(NETWORK)
        self._play = Play(
            [(entry.direction, entry.raw) for entry in played],
            reactor,
            encrypted_on=self._network if encrypts else None,
        )
        self._node: ListeningPort | None = None
        self.completed = False
        self._observers = observers
        self._service: ProxyService | None = None

    async def run(self) -> int:
        from twisted.internet.endpoints import (
            TCP4ClientEndpoint,
            TCP4ServerEndpoint,
            connectProtocol,
        )

        from lbcproxy.endpoint import Endpoint
        from lbcproxy.proxy import Mode, ProxyService, ProxySettings
        from lbcproxy.transport.kind import Transport

        host = "127.0.0.1"
        server = TCP4ServerEndpoint(self._reactor, 0, interface=host)
        self._node = await server.listen(self._play.node())
        upstream = Endpoint(host, self._node.getHost().port)
        settings = ProxySettings(
            network=self._network,
            modes=(Mode("reverse", (upstream,), Endpoint(host, 0)),),
            stream_above=None,
            client_transport=Transport.AUTO,
            upstream_transport=Transport.AUTO,
        )
        self._service = ProxyService(self._reactor, settings, self._observers)
        [mode] = await self._service.listen()
        client = TCP4ClientEndpoint(self._reactor, host, mode.listen.port)
        await connectProtocol(client, self._play.client())
        await self._play.done
        await self.stop()
        self.completed = True
        return 0

    def stop(self) -> Deferred[list[tuple[bool, Any]]]:
        from twisted.internet.defer import DeferredList, maybeDeferred

        stopping = [] if self._service is None else [self._service.stopService()]
        if self._node is not None:
            stopping.append(maybeDeferred(self._node.stopListening))
        return DeferredList(stopping)

    def abort(self) -> None:
        if self._service is not None:
            self._service.abort()


def _compare(played: Sequence[Entry], recorded: Path, continued: bool) -> None:
    """Compare the recording with what was played; raises LbcproxyError if they differ."""
    from lbcproxy.capture import open_capture

    actual = [(entry.direction, entry.raw) for entry in open_capture(recorded)]
    expected = [(entry.direction, entry.raw) for entry in played]
    if continued:
        actual = actual[-len(expected) :]
    if actual != expected:
        equal = [one == other for one, other in zip(actual, expected, strict=False)]
        index = equal.index(False) if False in equal else len(equal)
        raise LbcproxyError(
            f"THE RECORDING DIFFERS from what was played: it has {len(actual)} messages instead of "
            f"{len(expected)}, and the first difference is at message {index + 1}, in {recorded}"
        )


def next_steps(path: str) -> str:
    """Return commands to try next, in two columns."""
    steps = {
        f"lbcproxy show {path}": "the same lines again",
        f"lbcproxy show -V {path} | less": "every field",
        "lbcproxy run --network lbry-mainnet --mode reverse:HOST:9246@9246": "your own nodes",
        f"wireshark {path}": "the connection in Wireshark",
    }
    width = max(map(len, steps))
    return "\n".join(f"    {step:<{width}}  {what}" for step, what in steps.items())


def _print_result(events: Events, path: str, seconds: float, *, encrypts: bool) -> None:
    total = events.commands.total()
    commands = ", ".join(f"{count} {name}" for name, count in events.commands.most_common(6))
    how = " encrypted" if encrypts else ""
    passed = f"{total} messages of two real LBRY nodes passed{how} through the proxy"
    click.echo(
        f"""
{passed} in {seconds:.1f} s: {commands}, ...
The recording is identical to what was played, byte for byte:

    {path}

What next:
{next_steps(path)}
"""
    )
