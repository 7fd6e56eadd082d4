"""`lbcproxy replay server`: the recorded node, for whoever connects."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lbcproxy.cli.options import look_options, network_option, the_network

if TYPE_CHECKING:
    from lbcproxy.replay import Conversation, Policy, ReplayServer

__all__ = ["command", "load_conversation"]


@click.command(name="server", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-l",
    "--listen",
    metavar="[HOST:]PORT",
    default="0",
    help="Where to listen: at 127.0.0.1 if no host is named; port 0 picks one.  [default: 0]",
)
@click.option("-p", "--port", type=click.IntRange(0, 65535), help="The same, of the port alone.")
@click.option(
    "--session", type=int, metavar="N", help="Which session; else the first with a handshake."
)
@network_option(required=False)
@click.option(
    "--side",
    type=click.Choice(["upstream", "client"]),
    default="upstream",
    help="Which of the two nodes to be.  [default: upstream]",
)
@click.option(
    "--unknown",
    metavar="silence|notfound|pass:HOST:PORT",
    default="silence",
    help="What to do about a question that the recording has no answer to: nothing; answer "
    "notfound where the protocol has it; ask a live node and record what it says.  "
    "[default: silence]",
)
@click.option(
    "-w",
    "--write",
    "save_to",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="With --unknown pass: where the conversation and what is new in it is written, as a "
    "pcapng.  [default: beside FILE, as NAME.new.pcapng]",
)
@click.option(
    "--idle",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    default=1.0,
    help="After how long a client that says nothing is told what came next.  [default: 1]",
)
@click.option("--once", is_flag=True, help="End when the first client has left.")
@click.option("-q", "--quiet", is_flag=True, help="Print no messages, only what happens.")
@look_options
def command(file: Path, **options: Any) -> int:
    """Be the recorded node of a capture FILE for whoever connects.

    The handshake and pings are answered live, questions by the recorded answer to the same
    question, in whatever order they come; a locator by the recorded chain. What the node had said
    unasked it says when as much has been asked as before it in the recording. Ctrl-C ends it.
    """
    from lbcproxy.endpoint import Endpoint
    from lbcproxy.replay import BadPolicy, Policy

    try:
        where = str(options["port"]) if options["port"] is not None else options["listen"]
        listen = Endpoint.parse(where, "127.0.0.1")
    except ValueError as error:
        raise click.UsageError(f"--listen: {error}") from None
    try:
        policy = Policy.parse(options["unknown"])
    except BadPolicy as error:
        raise click.UsageError(f"--unknown: {error}") from None
    options["save_to"] = _where_to_save(file, policy, options["save_to"])
    conversation = load_conversation(file, options["session"], options["network"])
    for notice in conversation.notices:
        click.echo(f"lbcproxy: {notice}", err=True)
    try:
        return _serve(conversation, listen, policy, options)
    finally:
        conversation.close()


def _where_to_save(file: Path, policy: Policy, given: Path | None) -> Path | None:
    """Say where new messages go: never over a file that is there."""
    from lbcproxy.capture.recording.filename_pattern import misnamed

    if policy.upstream is None:
        if given is not None:
            raise click.UsageError("-w needs --unknown pass:HOST:PORT: else there is nothing new")
        return None
    path = given or file.with_name(f"{file.name.partition('.')[0]}.new.pcapng")
    if path.exists():
        raise click.UsageError(f"{path} is there already: play that, or name another with -w")
    if (why := misnamed(str(path))) is not None:
        raise click.UsageError(f"-w {path}: {why}")
    return path


def load_conversation(file: Path, session: int | None, network: str | None) -> Conversation:
    """Load a session for a command; what is wrong with it has the command line's words."""
    from lbcproxy.capture import UnknownNetwork
    from lbcproxy.replay import load

    chain = None if network is None else the_network(network)
    try:
        return load(file, session=session, network=chain)
    except UnknownNetwork as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"cannot read {file}: {error.strerror}") from None


def _serve(conversation: Conversation, listen: Any, policy: Any, options: dict[str, Any]) -> int:
    from twisted.internet import reactor  # noqa: TID251  # the one place: the program's edge

    from lbcproxy.cli.console import Console
    from lbcproxy.cli.formatter import make_look
    from lbcproxy.cli.show import colours, finish, output_to, width_of
    from lbcproxy.replay import ReplayServer
    from lbcproxy.service import Events, Logs, run_reactor
    from lbcproxy.session import Direction
    from lbcproxy.session.session import STREAM_ABOVE

    stream = sys.stdout
    event_stream = stream if options["kind"] == "text" else sys.stderr
    wanted = ("kind", "tree", "hexdump", "fields")
    look = make_look(
        **{name: options[name] for name in wanted}, colour=colours(stream), width=width_of(stream)
    )
    quiet = options["quiet"]
    messages = output_to(stream, lambda: reactor.callFromThread(reader_gone))
    events = messages if event_stream is stream else output_to(event_stream)
    console = Console(None if quiet else look, messages, events, colour=colours(event_stream))
    logs = Logs(console.line)
    logs.set(level="info", path=None, json=False)
    logs.begin()
    reads_all = options["kind"] != "text" or options["tree"] or options["hexdump"]
    server = ReplayServer(
        conversation,
        reactor,
        listen=listen,
        side=Direction.TO_CLIENT if options["side"] == "upstream" else Direction.TO_UPSTREAM,
        policy=policy,
        idle=options["idle"],
        save_to=options["save_to"],
        observers=[Events(), *([] if quiet else [console])],
        stream_above=None if reads_all else STREAM_ABOVE,
    )
    running = _Running(server, once=options["once"])

    def reader_gone() -> None:
        if not quiet:
            running.end(1)

    code = 1
    try:
        code = run_reactor(running.run, server.stop, server.abort, reactor)
    finally:
        logs.end()
        code = code if finish(*dict.fromkeys((messages, events))) else 1
    return code


class _Running:
    """A server at work, until the first client has left or a signal comes."""

    def __init__(self, server: ReplayServer, *, once: bool) -> None:
        from twisted.internet.defer import Deferred

        self._server = server
        self._once = once
        self._done: Deferred[int] = Deferred()
        server.ended = self._ended

    async def run(self) -> int:
        self._server.listen()
        code = await self._done
        await self._server.stop()
        return code

    def end(self, code: int) -> None:
        """Stop in order."""
        if not self._done.called:
            self._done.callback(code)

    def _ended(self, *_: object) -> None:
        if self._once:
            self.end(0)
