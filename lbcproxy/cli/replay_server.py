"""`lbcproxy replay server`: act as the recorded node for anyone who connects."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from lbcproxy.cli.conversations import load_conversation
from lbcproxy.cli.options import display_options, network_option, transport_option
from lbcproxy.cli.terminal import print_error

if TYPE_CHECKING:
    from lbcproxy.cli.console import Console
    from lbcproxy.endpoint import Endpoint
    from lbcproxy.replay import Conversation, ReplayServer, UnansweredPolicy
    from lbcproxy.session import Observer

__all__ = ["command"]


class ServerOptions(TypedDict):
    """The values of the options of the command, except the ones that choose the conversation."""

    listen: str
    port: int | None
    side: str
    unknown: str
    save_to: Path | None
    idle: float
    transport: str
    once: bool
    quiet: bool
    kind: str
    tree: bool
    hexdump: bool
    fields: tuple[str, ...]


@click.command(name="server", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-l",
    "--listen",
    metavar="[HOST:]PORT",
    default="0",
    help="The address to listen at. HOST is 127.0.0.1 by default; port 0 picks a free port.  "
    "[default: 0]",
)
@click.option("-p", "--port", type=click.IntRange(0, 65535), help="Short for --listen PORT.")
@click.option(
    "--session",
    type=int,
    metavar="N",
    help="Replay session N. The default is the first one with a handshake.",
)
@network_option(required=False)
@click.option(
    "--side",
    type=click.Choice(["upstream", "client"]),
    default="upstream",
    help="Which of the two recorded nodes to act as.  [default: upstream]",
)
@click.option(
    "--unknown",
    metavar="silence|notfound|pass:HOST:PORT",
    default="silence",
    help="What to do with a request that has no answer in the recording: ignore it, answer "
    "notfound where the protocol allows that, or ask a live node and record its answer.  "
    "[default: silence]",
)
@click.option(
    "-w",
    "--write",
    "save_to",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="With --unknown pass: the pcapng file that gets the conversation and the new answers.  "
    "[default: NAME.new.pcapng in the folder of the capture]",
)
@click.option(
    "--idle",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    default=1.0,
    help="After how long without a message from the client the next unsolicited message is sent.  "
    "[default: 1]",
)
@transport_option("auto", "auto does what each client begins with.")
@click.option("--once", is_flag=True, help="Exit when the first client has disconnected.")
@click.option("-q", "--quiet", is_flag=True, help="Print only the log, not the messages.")
@display_options
def command(
    file: Path, session: int | None, network: str | None, **options: Unpack[ServerOptions]
) -> int:
    """Act as the recorded node of a capture FILE for anyone who connects.

    The handshake and pings are answered live. Other requests get the recorded answer to the same
    request, in whatever order they come; a block locator is answered from the recorded chain.
    Messages that the node sent unsolicited are sent once as many requests have come as had come
    before them in the recording. Ctrl-C stops the server.
    """
    from lbcproxy.endpoint import Endpoint
    from lbcproxy.replay import BadPolicy, UnansweredPolicy

    try:
        address = options["listen"] if options["port"] is None else str(options["port"])
        listen = Endpoint.parse(address, "127.0.0.1")
    except ValueError as error:
        raise click.UsageError(f"--listen: {error}") from None
    try:
        policy = UnansweredPolicy.parse(options["unknown"])
    except BadPolicy as error:
        raise click.UsageError(f"--unknown: {error}") from None
    options["save_to"] = _save_path(file, policy, options["save_to"])
    conversation = load_conversation(file, session, network)
    for notice in conversation.notices:
        print_error(notice)
    try:
        return _serve(conversation, listen, policy, options)
    finally:
        conversation.close()


def _save_path(file: Path, policy: UnansweredPolicy, given: Path | None) -> Path | None:
    """Return where new answers are saved, which is never an existing file; raises UsageError."""
    from lbcproxy.capture.recording.filename_pattern import format_problem

    if policy.upstream is None:
        if given is not None:
            raise click.UsageError("-w needs --unknown pass:HOST:PORT: otherwise nothing is new")
        return None
    path = given or file.with_name(f"{file.name.partition('.')[0]}.new.pcapng")
    if path.exists():
        raise click.UsageError(f"{path} exists: replay that, or choose another file with -w")
    if (reason := format_problem(str(path))) is not None:
        raise click.UsageError(f"-w {path}: {reason}")
    return path


def _serve(
    conversation: Conversation, listen: Endpoint, policy: UnansweredPolicy, options: ServerOptions
) -> int:
    """Run a server until it is stopped; return the exit code."""
    from lbcproxy.cli.console import Console
    from lbcproxy.cli.formatter import make_formatter
    from lbcproxy.cli.reactor import the_reactor
    from lbcproxy.cli.terminal import background_output, columns_of, drain, has_colours
    from lbcproxy.service import Logs, run_reactor

    reactor = the_reactor()
    stream = sys.stdout
    event_stream = stream if options["kind"] == "text" else sys.stderr
    formatter = make_formatter(
        options["kind"],
        tree=options["tree"],
        hexdump=options["hexdump"],
        fields=options["fields"],
        colour=has_colours(stream),
        width=columns_of(stream),
    )
    quiet = options["quiet"]
    messages = background_output(stream, lambda: reactor.callFromThread(reader_gone))
    events = messages if event_stream is stream else background_output(event_stream)
    console = Console(
        None if quiet else formatter, messages, events, colour=has_colours(event_stream)
    )
    logs = Logs(console.line)
    logs.set(level="info", path=None, json=False)
    logs.begin()
    server = _server(conversation, listen, policy, options, console)
    run = _ServerRun(server, once=options["once"])

    def reader_gone() -> None:
        if not quiet:
            run.end(1)

    code = 1
    try:
        code = run_reactor(run.until_ended, server.stop, server.abort, reactor)
    finally:
        logs.end()
        code = code if drain(*dict.fromkeys((messages, events))) else 1
    return code


def _server(
    conversation: Conversation,
    listen: Endpoint,
    policy: UnansweredPolicy,
    options: ServerOptions,
    console: Console,
) -> ReplayServer:
    from lbcproxy.cli.reactor import the_reactor
    from lbcproxy.replay import ReplayServer
    from lbcproxy.service import Events
    from lbcproxy.session import Direction
    from lbcproxy.session.session import STREAM_ABOVE
    from lbcproxy.transport.kind import Transport

    observers: list[Observer] = [Events()]
    if not options["quiet"]:
        observers.append(console)
    reads_all = options["kind"] != "text" or options["tree"] or options["hexdump"]
    return ReplayServer(
        conversation,
        the_reactor(),
        listen=listen,
        side=Direction.TO_CLIENT if options["side"] == "upstream" else Direction.TO_UPSTREAM,
        policy=policy,
        idle=options["idle"],
        save_to=options["save_to"],
        observers=observers,
        transport=Transport(options["transport"]),
        stream_above=None if reads_all else STREAM_ABOVE,
    )


class _ServerRun:
    """A server that runs until its first client has left, or until a signal comes."""

    def __init__(self, server: ReplayServer, *, once: bool) -> None:
        from twisted.internet.defer import Deferred

        self._server = server
        self._once = once
        self._done: Deferred[int] = Deferred()
        server.ended = self._client_left

    async def until_ended(self) -> int:
        self._server.listen()
        code = await self._done
        await self._server.stop()
        return code

    def end(self, code: int) -> None:
        """Stop in order, and exit with a code."""
        if not self._done.called:
            self._done.callback(code)

    def _client_left(self, *_: object) -> None:
        if self._once:
            self.end(0)
