"""`lbcproxy run`: the proxy in the foreground."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from lbcproxy.cli.options import (
    fault_option,
    filter_argument,
    look_options,
    network_option,
    the_faults,
    the_filter,
)
from lbcproxy.cli.settings import given, overriding, setting_options
from lbcproxy.proxy import syntax
from lbcproxy.proxy.modes import all_modes

if TYPE_CHECKING:
    from lbcproxy.config import Config
    from lbcproxy.faults import Fault
    from lbcproxy.filters import Filter

__all__ = ["command"]

MODES = " ".join(f"{syntax(kind)}: {mode.HELP}." for kind, mode in all_modes().items())


@click.command(name="run", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config",
    "path",
    metavar="FILE",
    help="Read settings from a YAML file; flags go before them. `lbcproxy options` lists all. "
    "SIGHUP reads it again.",
)
@network_option(required=False)
@click.option(
    "-m",
    "--mode",
    "modes",
    multiple=True,
    metavar="MODE",
    help=f"{MODES} Behind the @ is where to listen: at 127.0.0.1 if no host is named; port 0 "
    "picks one. Before it is where to connect to, for each client to the first that answers. May "
    "be given several times.",
)
@fault_option("What goes wrong on purpose, as 'latency latency=200' or 'drop filter=tx'.")
@click.option("--no-record", is_flag=True, help="Do not record.")
@click.option("-q", "--quiet", is_flag=True, help="Print no messages, only what happens.")
@filter_argument
@setting_options
@look_options
def command(
    path: str | None,
    network: str | None,
    modes: tuple[str, ...],
    faults: tuple[str, ...],
    no_record: bool,
    quiet: bool,
    words: tuple[str, ...],
    **options: Any,
) -> int:
    """Stand between a client and a node: show and record what passes.

    Point the client at the listening address: it talks to the node as before. Ctrl-C ends it.
    With a FILTER, the messages it matches are shown, and all are recorded: tx, 'size > 1000',
    'any(c.name == "x" for c in tx.claims)'. docs/filters.md has the language.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the reactor runs, nothing is to reload
    flags = given(options)
    if no_record and "record" in flags:
        raise click.UsageError("--no-record and -w exclude each other")
    if no_record:
        flags["record"] = None
    if network is not None:
        # Those of a file belong to the file's network.
        flags |= {"network": network, "magic": None, "signet_challenge": None}
    made = the_faults(faults)
    config = _configured(path, modes, flags, made)
    read_again = None if path is None else lambda: _read(path, flags, made)
    wanted = the_filter(words)
    return _run(config, read_again, quiet=quiet, wanted=wanted, **options)


def _configured(
    path: str | None, modes: tuple[str, ...], flags: dict[str, Any], faults: Sequence[Fault]
) -> Config:
    """Make a config of a file and flags, or say as a usage error what is wrong."""
    from lbcproxy.config import ConfigError
    from lbcproxy.proxy import BadMode, parse_mode

    try:
        if modes:
            parsed = [parse_mode(mode) for mode in modes]
            flags["proxies"] = [
                {
                    "mode": mode.kind,
                    "listen": str(mode.listen),
                    "upstream": tuple(map(str, mode.upstreams)) or None,
                }
                for mode in parsed
            ]
        elif path is None and "control" in flags:
            flags["proxies"] = []  # the control API makes them
        elif path is None:
            raise click.UsageError("say where to listen and lead to: --mode, or a file with -c")
        return _read(path, flags, faults)
    except BadMode as error:
        raise click.UsageError(str(error)) from None
    except ConfigError as error:
        name = error.path.rpartition(".")[2]
        if faults and name.startswith("faults"):
            raise click.UsageError(f"--fault: {error.what}") from None
        if name in flags or (name == "network" and path is None):
            raise click.UsageError(f"--{name.replace('_', '-')}: {error.what}") from None
        raise


def _read(path: str | None, flags: dict[str, Any], faults: Sequence[Fault]) -> Config:
    """Read a file and put the flags in front of it; raises ConfigError."""
    from lbcproxy.config import load, read

    values, lines = ({}, {}) if path is None else read(path)
    values = overriding(values, flags)
    if faults and isinstance(values.get("proxies"), list):
        own = {"faults": [msgspec.to_builtins(fault) for fault in faults]}
        proxies = values["proxies"]
        values["proxies"] = [
            {**each, **own} if isinstance(each, dict) else each for each in proxies
        ]
    return load(values, lines)


def _run(
    config: Config,
    read_again: Callable[[], Config] | None,
    *,
    quiet: bool,
    wanted: Filter | None,
    **options: Any,
) -> int:
    from twisted.internet import reactor  # noqa: TID251  # the one place: the program's edge
    from twisted.internet.defer import Deferred

    from lbcproxy.cli.console import Console
    from lbcproxy.cli.formatter import make_look
    from lbcproxy.cli.show import colours, complain, finish, output_to, width_of
    from lbcproxy.service import (
        LbcproxyService,
        Logs,
        give_memory_back,
        raise_open_files,
        run_reactor,
    )

    piped = any(proxy.record == "-" for proxy in config.proxies)
    stream = sys.stderr if piped else sys.stdout
    event_stream = stream if options["kind"] == "text" and not config.log_json else sys.stderr
    look = make_look(**options, colour=colours(stream), width=width_of(stream))
    messages = output_to(stream, lambda: reactor.callFromThread(reader_gone))
    events = messages if event_stream is stream else output_to(event_stream)
    console = Console(
        None if quiet else look, messages, events, colour=colours(event_stream), wanted=wanted
    )
    logs = Logs(console.line)
    printed = options["kind"] != "text" or options["tree"] or options["hexdump"]
    asked = wanted is not None and wanted.needs_record
    reads_all = not quiet and (printed or asked)
    raise_open_files()
    give_memory_back()
    ended: Deferred[int] = Deferred()
    service = LbcproxyService(
        reactor,
        config,
        logs,
        observers=() if quiet else (console,),
        reads_all=bool(reads_all),
        read_again=read_again,
        given_up=lambda: end(1),
    )

    def end(code: int) -> None:
        if not ended.called:
            ended.callback(code)

    def reader_gone() -> None:
        if not quiet:  # as `| head` ends any program; what is only the log's ends nothing
            service.stopService().addBoth(lambda _: end(1))

    service.set_logs(config)
    logs.begin()

    async def serve() -> int:
        return await ended

    try:
        service.open()
        code = run_reactor(
            serve, service.stopService, service.abort, reactor, service.hang_up, service.died
        )
    finally:
        service.died()  # nothing, if it was stopped in order
        logs.end()
        if logs.lost:
            complain(f"{logs.lost:,} lines of the log could not be written: {logs.why}")
        printed_all = finish(*dict.fromkeys((messages, events)))
    return code if printed_all and not (logs.lost or service.failed) else 1
