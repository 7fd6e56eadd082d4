"""`lbcproxy replay client`: the client of a capture, played against a real node."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lbcproxy.cli.options import compare_options, network_option
from lbcproxy.cli.replay_server import load_conversation
from lbcproxy.cli.screen import unscreened

if TYPE_CHECKING:
    from lbcproxy.replay import Report

__all__ = ["command"]

REDRAWN = 0.2
PATIENCE = 30.0


@click.command(name="client", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("address", metavar="HOST:PORT")
@click.option(
    "--session",
    type=click.IntRange(min=1),
    metavar="N",
    help="Play session N; otherwise the first that has a handshake.",
)
@network_option(required=False)
@click.option(
    "--pace",
    default="causal",
    metavar="causal|recorded|N|step",
    help="causal: each message when the recorded answers before it are there. recorded: at its "
    "recorded time. A number: so many times as fast. step: when you press Enter.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    metavar="SECONDS",
    help="How long to wait for the connection, and for an answer before going on without it (10).",
)
@click.option(
    "-w", "--write", "output", metavar="OUT", help="Record the live conversation to a new file."
)
@click.option("-v", "--verbose", is_flag=True, help="Print each message as it passes.")
@compare_options
def command(file: Path, address: str, session: int | None, network: str | None, **rest: Any) -> int:
    """Play the client of a capture FILE against the node at HOST:PORT, and say what differs.

    Nonces and the time are made anew, pings of the node are answered; all else is sent byte for
    byte. What the node answers is compared with what was recorded. The exit code is 0 if nothing
    differs, 4 if something does.
    """
    from lbcproxy.endpoint import Endpoint
    from lbcproxy.replay import Ignored, parse_pace

    try:
        endpoint = Endpoint.parse(address)
        pace = parse_pace(rest.pop("pace"))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not endpoint.host or not endpoint.port:
        raise click.UsageError(f"{address!r} is not HOST:PORT")
    ignored = Ignored(rest.pop("ignore"), heights=rest.pop("ignore_heights"))
    with load_conversation(file, session, network) as conversation:
        return _run(conversation, endpoint, ignored, pace, **rest)


def _run(
    conversation: Any,
    endpoint: Any,
    ignored: Any,
    pace: Any,
    *,
    kind: str,
    timeout: float,
    output: str | None,
    verbose: bool,
) -> int:
    from twisted.internet import reactor  # noqa: TID251  # the program's edge
    from twisted.internet.defer import Deferred, succeed

    from lbcproxy.cli.diff import print_report, print_title
    from lbcproxy.replay import ReplayClient
    from lbcproxy.service import run_reactor

    written = _Written(output, conversation.network) if output is not None else None
    observers: list[Any] = [] if written is None else [written.recording]
    stream = sys.stderr if output == "-" else sys.stdout
    lines = stream if kind == "text" else sys.stderr
    if verbose:
        observers.append(_console(lines))
    steps = _Steps(reactor, conversation) if pace.steps else None
    client = ReplayClient(
        reactor,
        conversation,
        endpoint,
        ignored=ignored,
        pace=pace,
        timeout=timeout,
        observers=observers,
        ask=steps.ask if steps is not None else lambda _: None,
    )
    stopped = False
    progress = _Progress(client, conversation, reactor, wanted=not (verbose or pace.steps))

    async def main() -> int:
        if steps is not None:
            steps.begin(client)
        progress.begin()
        try:
            report: Report = await client.run()
        finally:
            progress.end()
        if verbose:
            print(file=lines)
        if kind == "text":
            recorded = f"{conversation.path} #{conversation.number}"
            print_title(report.names, (recorded, str(endpoint)), stream)
        print_report(report, kind, stream)
        return 130 if stopped else report.exit_code

    def stop() -> Deferred[None]:
        nonlocal stopped
        stopped = True
        client.stop()
        return succeed(None)

    try:
        code = run_reactor(main, stop, client.abort, reactor)
    finally:
        if written is not None:
            written.close()
    damage = conversation.damage
    if damage is not None:
        raise damage
    return code


def _console(stream: Any) -> Any:
    from lbcproxy.cli.console import Console
    from lbcproxy.cli.formatter import make_look
    from lbcproxy.cli.show import colours, width_of

    colour = colours(stream)
    look = make_look(
        "text", tree=False, hexdump=False, fields=(), colour=colour, width=width_of(stream)
    )
    return Console(look, stream, stream, colour=colour)


class _Written:
    """The file that the live conversation goes to."""

    def __init__(self, path: str, network: Any) -> None:
        from lbcproxy.background import Background
        from lbcproxy.capture import MOST_WAITING, Recording, RecordingSettings

        self._disk = Background(MOST_WAITING)
        self.recording = Recording(
            RecordingSettings(pattern=path),
            self._disk,
            lambda text, _: click.echo(f"lbcproxy: {text}", err=True),
            network=network.id,
            name="replay",
            changes=False,
        )
        if path != "-" and Path(path).exists():
            raise click.UsageError(f"-w: {path} exists")
        self.recording.open(fresh=True)

    def close(self) -> None:
        """Have all of it on disk."""
        self.recording.close()
        self._disk.close(PATIENCE)


class _Steps:
    """Shows each message, and sends it at Enter; the end of the input is the end of the replay.

    The input is read in a thread that may be left behind: reading cannot be broken off.
    """

    def __init__(self, reactor: Any, conversation: Any) -> None:
        from lbcproxy.cli.formatter import make_look
        from lbcproxy.cli.show import colours, width_of

        self._reactor = reactor
        self._session = conversation.number
        self._look = make_look(
            "text",
            tree=False,
            hexdump=False,
            fields=(),
            colour=colours(sys.stderr),
            width=width_of(sys.stderr),
        )
        self._wanted = threading.Semaphore(0)

    def begin(self, client: Any) -> None:
        def read() -> None:
            while True:
                self._wanted.acquire()
                line = sys.stdin.readline()
                self._reactor.callFromThread(client.step if line else client.stop)
                if not line:
                    return

        threading.Thread(target=read, daemon=True).start()

    def ask(self, message: Any) -> None:
        """Show a message, and wait for Enter."""
        from lbcproxy.session import Entry

        entry = Entry(
            number=0,
            time_ns=0,
            session=self._session,
            direction=message.direction,
            message=message,
        )
        click.echo(f"{self._look(entry)}  [Enter sends it]", err=True)
        self._wanted.release()


class _Progress:
    """A line on standard error, if that is a terminal: `12,345/40,000 msgs 1.0x 00:12`."""

    def __init__(self, client: Any, conversation: Any, reactor: Any, *, wanted: bool) -> None:
        self._client = client
        self._total = len(conversation.turns)
        self._reactor = reactor
        self._wanted = wanted and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._call: Any = None
        self._began = 0.0

    def begin(self) -> None:
        """Draw it again and again."""
        self._began = self._reactor.seconds()
        if self._wanted:
            self._draw()

    def _draw(self) -> None:
        script = self._client.script
        seconds = self._reactor.seconds() - self._began
        speed = script.recorded_seconds / seconds if seconds else 0.0
        clock = f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"
        text = f"{script.place:,}/{self._total:,} msgs {speed:.1f}x {clock}"
        click.echo(f"\r{text}\033[K", file=unscreened(sys.stderr), nl=False)
        self._call = self._reactor.callLater(REDRAWN, self._draw)

    def end(self) -> None:
        """Wipe it away."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
            click.echo("\r\033[K", file=unscreened(sys.stderr), nl=False)
