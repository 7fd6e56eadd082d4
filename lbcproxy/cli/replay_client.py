"""`lbcproxy replay client`: replay the client of a capture against a live node."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

import click

from lbcproxy.cli.conversations import load_conversation
from lbcproxy.cli.options import compare_options, network_option, transport_option
from lbcproxy.cli.sanitizer import unwrapped
from lbcproxy.cli.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import Sized

    from twisted.internet.defer import Deferred

    from lbcproxy.cli.console import Console
    from lbcproxy.clock import DelayedCall
    from lbcproxy.endpoint import Endpoint
    from lbcproxy.networks import Network
    from lbcproxy.reactor import Reactor
    from lbcproxy.replay import ComparisonReport, Conversation, IgnoredFields, Pace, ReplayClient
    from lbcproxy.session import Message, Observer
    from lbcproxy.transport.kind import Transport

__all__ = ["command"]

REDRAW_INTERVAL = 0.2
DISK_TIMEOUT = 30.0


@click.command(name="client", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("address", metavar="HOST:PORT")
@click.option(
    "--session",
    type=click.IntRange(min=1),
    metavar="N",
    help="Replay session N. The default is the first one with a handshake.",
)
@network_option(required=False)
@transport_option("v1", "auto tries v2, then v1 if the node cannot encrypt.")
@click.option(
    "--pace",
    default="causal",
    metavar="causal|recorded|N|step",
    help="When each message is sent. causal: after the answers that preceded it in the recording. "
    "recorded: at its recorded time. A number: at that many times the recorded speed. step: when "
    "you press Enter.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    metavar="SECONDS",
    help="How long to wait for the connection, and for each answer before going on without it "
    "(10).",
)
@click.option(
    "-w", "--write", "output", metavar="OUT", help="Record the live conversation to a new file."
)
@click.option("-v", "--verbose", is_flag=True, help="Print each message as it passes.")
@compare_options
def command(
    file: Path,
    address: str,
    session: int | None,
    network: str | None,
    transport: str,
    pace: str,
    timeout: float,
    output: str | None,
    verbose: bool,
    ignore: tuple[str, ...],
    ignore_heights: bool,
    kind: str,
) -> int:
    """Replay the client of a capture FILE against the node at HOST:PORT, and report differences.

    Nonces and times are renewed, and pings from the node are answered. Everything else is sent
    byte for byte. The answers of the node are compared with the recorded ones. The exit code is 0
    if nothing differs, 4 if something does.
    """
    from lbcproxy.endpoint import Endpoint
    from lbcproxy.replay import IgnoredFields, parse_pace
    from lbcproxy.transport.kind import Transport

    try:
        endpoint = Endpoint.parse(address)
        parsed_pace = parse_pace(pace)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not endpoint.host or not endpoint.port:
        raise click.UsageError(f"{address!r} is not HOST:PORT")
    ignored = IgnoredFields(ignore, heights=ignore_heights)
    with load_conversation(file, session, network) as conversation:
        replay = _Replay(conversation, endpoint, output=output, kind=kind, verbose=verbose)
        return replay.run(ignored, parsed_pace, timeout, Transport(transport))


class _Replay:
    """One replay against a node, and where its messages and its report are printed."""

    def __init__(
        self,
        conversation: Conversation,
        endpoint: Endpoint,
        *,
        output: str | None,
        kind: str,
        verbose: bool,
    ) -> None:
        from lbcproxy.cli.reactor import the_reactor

        self._reactor = the_reactor()
        self._conversation = conversation
        self._endpoint = endpoint
        self._kind = kind
        self._verbose = verbose
        self._stopped = False
        self._recording = None if output is None else _LiveRecording(output, conversation.network)
        self._report_stream = sys.stderr if output == "-" else sys.stdout
        self._message_stream = self._report_stream if kind == "text" else sys.stderr

    def run(self, ignored: IgnoredFields, pace: Pace, timeout: float, transport: Transport) -> int:
        """Replay, and print a report; return the exit code."""
        from lbcproxy.replay import ReplayClient
        from lbcproxy.service import run_reactor

        stepper = _Stepper(self._reactor, self._conversation.number) if pace.steps else None
        client = ReplayClient(
            self._reactor,
            self._conversation,
            self._endpoint,
            ignored=ignored,
            pace=pace,
            timeout=timeout,
            transport=transport,
            observers=self._observers(),
            ask=stepper.ask if stepper is not None else lambda _: None,
        )
        wanted = not (self._verbose or pace.steps)
        progress = _Progress(client, self._conversation, self._reactor, wanted=wanted)

        async def main() -> int:
            if stepper is not None:
                stepper.start(client)
            progress.start()
            try:
                report = await client.run()
            finally:
                progress.stop()
            return self._print(report)

        def stop() -> Deferred[None]:
            return self._stop(client)

        try:
            code = run_reactor(main, stop, client.abort, self._reactor)
        finally:
            if self._recording is not None:
                self._recording.close()
        if self._conversation.damage is not None:
            raise self._conversation.damage
        return code

    def _observers(self) -> list[Observer]:
        observers: list[Observer] = []
        if self._recording is not None:
            observers.append(self._recording.recording)
        if self._verbose:
            observers.append(_console(self._message_stream))
        return observers

    def _stop(self, client: ReplayClient) -> Deferred[None]:
        from twisted.internet.defer import succeed

        self._stopped = True
        client.stop()
        return succeed(None)

    def _print(self, report: ComparisonReport) -> int:
        """Print the report; return the exit code."""
        from lbcproxy.cli.diff import print_report, print_title
        from lbcproxy.cli.exit_codes import ExitCode

        if self._verbose:
            print(file=self._message_stream)
        if self._kind == "text":
            recorded = f"{self._conversation.path} #{self._conversation.number}"
            print_title(report.names, (recorded, str(self._endpoint)), self._report_stream)
        print_report(report, self._kind, self._report_stream)
        return ExitCode.INTERRUPTED if self._stopped else report.exit_code


def _console(stream: TextIO) -> Console:
    from lbcproxy.cli.console import Console
    from lbcproxy.cli.formatter import TEXT, formatter_for
    from lbcproxy.cli.terminal import has_colours

    return Console(formatter_for(TEXT, stream), stream, stream, colour=has_colours(stream))


class _LiveRecording:
    """The recording of the live conversation."""

    def __init__(self, path: str, network: Network) -> None:
        from lbcproxy.background import Background
        from lbcproxy.capture import MAX_QUEUED, Recording, RecordingSettings

        self._disk = Background(MAX_QUEUED)
        self.recording = Recording(
            RecordingSettings(pattern=path),
            self._disk,
            lambda text, _: print_error(text),
            network=network.id,
            name="replay",
            changes=False,
        )
        if path != "-" and Path(path).exists():
            raise click.UsageError(f"-w: {path} exists")
        self.recording.open(fresh=True)

    def close(self) -> None:
        """Close the recording once all of it is on disk."""
        self.recording.close()
        self._disk.close(DISK_TIMEOUT)


class _Stepper:
    """Shows each message, and sends it when Enter is pressed; end of file ends the replay.

    A daemon thread reads the input, because a read cannot be cancelled.
    """

    def __init__(self, reactor: Reactor, session: int) -> None:
        from lbcproxy.cli.formatter import TEXT, formatter_for

        self._reactor = reactor
        self._session = session
        self._formatter = formatter_for(TEXT, sys.stderr)
        self._wanted = threading.Semaphore(0)

    def start(self, client: ReplayClient) -> None:
        """Start to read the input."""

        def read() -> None:
            while True:
                self._wanted.acquire()
                line = sys.stdin.readline()
                self._reactor.callFromThread(client.step if line else client.stop)
                if not line:
                    return

        threading.Thread(target=read, daemon=True).start()

    def ask(self, message: Message) -> None:
        """Show a message, and wait for Enter in the other thread."""
        from lbcproxy.session import Entry

        entry = Entry(
            number=0,
            time_ns=0,
            session=self._session,
            direction=message.direction,
            message=message,
        )
        click.echo(f"{self._formatter(entry)}  [Enter sends it]", err=True)
        self._wanted.release()


class _ReplayScript(Protocol):
    """How far a replay is."""

    @property
    def position(self) -> int:
        """The messages that have passed."""

    @property
    def recorded_seconds(self) -> float:
        """The time between the first and the last of them when they were recorded."""


class _HasScript(Protocol):
    @property
    def script(self) -> _ReplayScript:
        """How far it is."""


class _HasTurns(Protocol):
    @property
    def turns(self) -> Sized:
        """All messages of the conversation."""


class _Progress:
    """A line on standard error, if that is a terminal: `12,345/40,000 msgs 1.0x 00:12`."""

    def __init__(
        self, client: _HasScript, conversation: _HasTurns, reactor: Reactor, *, wanted: bool
    ) -> None:
        self._client = client
        self._total = len(conversation.turns)
        self._reactor = reactor
        self._wanted = wanted and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._call: DelayedCall | None = None
        self._started = 0.0

    def start(self) -> None:
        """Draw the line, and redraw it until `stop` is called."""
        self._started = self._reactor.seconds()
        if self._wanted:
            self._draw()

    def _draw(self) -> None:
        script = self._client.script
        seconds = self._reactor.seconds() - self._started
        speed = script.recorded_seconds / seconds if seconds else 0.0
        clock = f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"
        text = f"{script.position:,}/{self._total:,} msgs {speed:.1f}x {clock}"
        click.echo(f"\r{text}\033[K", file=unwrapped(sys.stderr), nl=False)
        self._call = self._reactor.callLater(REDRAW_INTERVAL, self._draw)

    def stop(self) -> None:
        """Erase the line."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
            click.echo("\r\033[K", file=unwrapped(sys.stderr), nl=False)
