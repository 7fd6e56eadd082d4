"""`lbcproxy run`: the proxy in the foreground."""

from __future__ import annotations

import sys
import time
from typing import Any

import click
from click.core import ParameterSource

from lbcproxy.cli.options import look_options, network_option, the_network

__all__ = ["command"]


def _user_agent(_: click.Context, __: click.Parameter, value: str | None) -> bytes | None:
    """Check what every handshake of a session would fail on."""
    from lbcproxy.peer.config import MOST_USER_AGENT

    agent = None if value is None else value.encode()
    if agent is not None and len(agent) > MOST_USER_AGENT:
        raise click.BadParameter(f"{len(agent)} bytes, at most {MOST_USER_AGENT} are allowed")
    return agent


SHOWN = ("user_agent", "services", "protocol_version", "height", "relay", "pass_pings")
"""The options of terminate mode."""


@click.command(name="run", context_settings={"help_option_names": ["-h", "--help"]})
@network_option(required=True)
@click.option(
    "-m",
    "--mode",
    "modes",
    multiple=True,
    required=True,
    metavar="MODE",
    help="reverse:HOST:PORT@[HOST:]PORT: listen at the second address (127.0.0.1 if it names no "
    "host; port 0 picks one), connect to the first. terminate:... the same, but each side shakes "
    "hands with us. May be given several times.",
)
@click.option(
    "-w",
    "--write",
    "path",
    metavar="FILE",
    help="Record to FILE, which is continued if it exists; - is the standard output. Left out: a "
    "new file in captures/.",
)
@click.option("--no-record", is_flag=True, help="Do not record.")
@click.option(
    "--legs",
    type=click.Choice(["auto", "client", "both"]),
    default="auto",
    help="The connections a capture holds; auto is client while nothing can change a message.",
)
@click.option(
    "--user-agent",
    callback=_user_agent,
    metavar="TEXT",
    help="In terminate mode: the user agent both sides are shown, in place of each other's.",
)
@click.option(
    "--services",
    type=click.IntRange(0, 2**64 - 1),
    metavar="BITS",
    help="In terminate mode: the service bits both sides are shown, as 9 for NETWORK and WITNESS.",
)
@click.option(
    "--protocol-version",
    type=click.IntRange(209, 2**31 - 1),
    metavar="N",
    help="In terminate mode: the protocol version both sides are shown.",
)
@click.option(
    "--height",
    type=click.IntRange(0, 2**31 - 1),
    metavar="N",
    help="In terminate mode: the height both sides are shown.",
)
@click.option(
    "--relay/--no-relay",
    default=None,
    help="In terminate mode: whether both sides are told that transactions are wanted.",
)
@click.option(
    "--pass-pings",
    is_flag=True,
    help="In terminate mode: pass pings on; left out, we answer them and ping ourselves.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print no messages, only what happens.")
@click.option(
    "--dial-timeout",
    type=click.FloatRange(min=0.1),
    default=30.0,
    metavar="SECONDS",
    help="How long connecting to the upstream may take (30).",
)
@look_options
def command(network: str, modes: tuple[str, ...], **options: Any) -> int:
    """Stand between a client and a node: show and record what passes.

    Point the client at the listening address: it talks to the node as before. Ctrl-C ends it.
    """
    from lbcproxy.proxy import BadMode, parse_mode

    chain = the_network(network)
    try:
        parsed = tuple(parse_mode(mode) for mode in modes)
    except BadMode as error:
        raise click.UsageError(str(error)) from None
    if not any(mode.kind == "terminate" for mode in parsed):
        _refuse_shown(options)
    if options["no_record"] and options["path"]:
        raise click.UsageError("--no-record and -w exclude each other")
    return _run(chain, parsed, **options)


def _refuse_shown(options: dict[str, Any]) -> None:
    """Refuse what would be ignored without terminate mode."""
    context = click.get_current_context()
    for name in SHOWN:
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            option = f"no-{name}" if options[name] is False else name
            words = f"--{option.replace('_', '-')} needs a --mode terminate:HOST:PORT@[HOST:]PORT"
            raise click.UsageError(words)


def _run(
    network: Any, modes: Any, path: str | None, no_record: bool, legs: str, **options: Any
) -> int:
    from twisted.internet import reactor  # noqa: TID251  # the one place: the program's edge
    from twisted.internet.defer import Deferred

    from lbcproxy.cli.console import Console
    from lbcproxy.cli.look import make_look
    from lbcproxy.cli.proxying import begin_recording, log_to, run_reactor
    from lbcproxy.cli.show import colours, output_to, width_of
    from lbcproxy.proxy import ProxyService, ProxySettings, Shown
    from lbcproxy.proxy.modes import all_modes
    from lbcproxy.session.session import STREAM_ABOVE

    quiet, timeout = options.pop("quiet"), options.pop("dial_timeout")
    shown = Shown(**{name: options.pop(name) for name in SHOWN})
    stream = sys.stderr if path == "-" else sys.stdout
    event_stream = stream if options["kind"] == "text" else sys.stderr
    look = make_look(**options, colour=colours(stream), width=width_of(stream))
    messages = output_to(stream)
    events = messages if event_stream is stream else output_to(event_stream)
    console = Console(None if quiet else look, messages, events, colour=colours(event_stream))
    log_to(console)
    observers: list[Any] = [console]
    file = None
    if not no_record:
        changes = any(all_modes()[mode.kind].CHANGES for mode in modes)
        file, recorder = begin_recording(path, network.id, network, legs, console, reactor, changes)
        observers.insert(0, recorder)
    reads_all = not quiet and (options["kind"] != "text" or options["tree"] or options["hexdump"])
    settings = ProxySettings(
        network=network,
        modes=modes,
        dial_timeout=timeout,
        stream_above=None if reads_all else STREAM_ABOVE,
        shown=shown,
    )
    service = ProxyService(reactor, settings, observers)

    async def serve() -> int:
        for mode in await service.listen():
            words = f"{network.id}: listening at {mode.listen}, leading to {mode.upstream}"
            console.event(words, None, time.time_ns())
        if file is not None:
            doing = "continuing" if file.continued else "recording to"
            console.event(f"{doing} {file.name}", None, time.time_ns())
        await Deferred()
        return 0

    try:
        code = run_reactor(serve, service.stopService, service.abort, reactor)
    finally:
        if file is not None:
            file.close()
    console.event(_farewell(console, file, messages.dropped), None, time.time_ns())
    for output in {messages, events}:
        output.drain()
    return 1 if file is not None and file.error is not None else code


def _farewell(console: Any, file: Any, dropped: int) -> str:
    total = console.commands.total()
    words = f"stopped: {console.sessions} sessions, {total:,} messages"
    if console.errors:
        words += f", {console.errors} with errors"
    if dropped:
        words += f", {dropped} times lines were dropped because nobody read them in time"
    if file is None:
        return words
    return f"{words}; {file.error or f'recorded in {file.name}'}"
