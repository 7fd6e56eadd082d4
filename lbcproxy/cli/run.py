"""`lbcproxy run`: run the proxy in the foreground."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from lbcproxy.cli.options import (
    DisplayOptions,
    display_options,
    fault_option,
    filter_argument,
    network_option,
    the_faults,
    the_filter,
)
from lbcproxy.cli.settings import override, setting_options, take_settings
from lbcproxy.proxy import syntax
from lbcproxy.proxy.modes import all_modes
from lbcproxy.transport.kind import Transport

if TYPE_CHECKING:
    from lbcproxy.config import Config
    from lbcproxy.faults import Fault
    from lbcproxy.filters import Filter

__all__ = ["command"]

MODES = " ".join(f"{syntax(kind)}: {mode.help}." for kind, mode in all_modes().items())


@click.command(name="run", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config",
    "path",
    metavar="FILE",
    help="Read settings from a YAML file. Options take precedence over it. `lbcproxy options` "
    "lists all settings. SIGHUP reloads the file.",
)
@network_option(required=False)
@click.option(
    "-m",
    "--mode",
    "modes",
    multiple=True,
    metavar="MODE",
    help=f"{MODES} The address after the @ is where the proxy listens: 127.0.0.1 if there is no "
    "host; port 0 picks a free port. The addresses before it are the upstreams: each client is "
    "connected to the first one that answers. Can be repeated.",
)
@fault_option("A fault to inject, such as 'latency latency=200' or 'drop filter=tx'.")
@click.option(
    "--transport",
    type=click.Choice([each.value for each in Transport]),
    help="How both connections carry messages: sets --client-transport and --upstream-transport.",
)
@click.option("--no-record", is_flag=True, help="Do not record.")
@click.option("-q", "--quiet", is_flag=True, help="Print only the log, not the messages.")
@filter_argument
@setting_options
@display_options
def command(
    path: str | None,
    network: str | None,
    modes: tuple[str, ...],
    faults: tuple[str, ...],
    transport: str | None,
    no_record: bool,
    quiet: bool,
    words: tuple[str, ...],
    **options: Any,
) -> int:
    """Run the proxy between a client and a node: show and record the messages.

    Point the client at the address where the proxy listens: it talks to the node as before. Ctrl-C
    stops the proxy. With a FILTER, only the messages that match it are shown, but all are recorded:
    tx, 'size > 1000', 'any(c.name == "x" for c in tx.claims)'. docs/filters.md describes the
    language.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nothing can be reloaded until the reactor runs
    flags = take_settings(options)
    if transport is not None:
        flags = {"client_transport": transport, "upstream_transport": transport, **flags}
    if no_record and "record" in flags:
        raise click.UsageError("--no-record and -w exclude each other")
    if no_record:
        flags["record"] = None
    if network is not None:
        # The file's magic and challenge belong to the file's network.
        flags |= {"network": network, "magic": None, "signet_challenge": None}
    parsed_faults = the_faults(faults)
    config = _config(path, modes, flags, parsed_faults)
    reload = None if path is None else lambda: _load(path, flags, parsed_faults)
    wanted = the_filter(words)
    display = DisplayOptions(
        kind=options["kind"],
        tree=options["tree"],
        hexdump=options["hexdump"],
        fields=options["fields"],
    )
    return _Foreground(config, reload, display, quiet=quiet, wanted=wanted).run()


def _config(
    path: str | None, modes: tuple[str, ...], flags: dict[str, object], faults: Sequence[Fault]
) -> Config:
    """Return the config that a file and options describe; raises UsageError for options."""
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
            flags["proxies"] = []  # they are created through the control API
        elif path is None:
            raise click.UsageError("nothing to listen at: use --mode, or a config file with -c")
        return _load(path, flags, faults)
    except BadMode as error:
        raise click.UsageError(str(error)) from None
    except ConfigError as error:
        name = error.path.rpartition(".")[2]
        if faults and name.startswith("faults"):
            raise click.UsageError(f"--fault: {error.what}") from None
        if name in flags or (name == "network" and path is None):
            raise click.UsageError(f"--{name.replace('_', '-')}: {error.what}") from None
        raise


def _load(path: str | None, flags: dict[str, object], faults: Sequence[Fault]) -> Config:
    """Read a file and override its settings with options; raises ConfigError."""
    from lbcproxy.config import load, read

    values, lines = ({}, {}) if path is None else read(path)
    values = override(values, flags)
    proxies = values.get("proxies")
    if faults and isinstance(proxies, list):
        from_options = {"faults": [msgspec.to_builtins(fault) for fault in faults]}
        values["proxies"] = [
            {**each, **from_options} if isinstance(each, dict) else each for each in proxies
        ]
    return load(values, lines)


class _Foreground:
    """A service whose messages and log are printed to a terminal or a pipe.

    Messages go to standard output, or to standard error if the recording goes to standard output.
    The log goes to the same stream, unless that stream is meant for programs to read.
    """

    def __init__(
        self,
        config: Config,
        reload: Callable[[], Config] | None,
        display: DisplayOptions,
        *,
        quiet: bool,
        wanted: Filter | None,
    ) -> None:
        from twisted.internet.defer import Deferred

        from lbcproxy.cli.console import Console
        from lbcproxy.cli.formatter import formatter_for
        from lbcproxy.cli.reactor import the_reactor
        from lbcproxy.cli.terminal import background_output, has_colours
        from lbcproxy.service import LbcproxyService, Logs

        self._reactor = the_reactor()
        self._quiet = quiet
        self._ended: Deferred[int] = Deferred()
        to_stdout = not any(proxy.record == "-" for proxy in config.proxies)
        stream = sys.stdout if to_stdout else sys.stderr
        readable = display["kind"] == "text" and not config.log_json
        event_stream = stream if readable else sys.stderr
        formatter = formatter_for(display, stream)
        messages = background_output(
            stream, lambda: self._reactor.callFromThread(self._reader_gone)
        )
        events = messages if event_stream is stream else background_output(event_stream)
        self._outputs = tuple(dict.fromkeys((messages, events)))
        console = Console(
            None if quiet else formatter,
            messages,
            events,
            colour=has_colours(event_stream),
            wanted=wanted,
        )
        self._logs = Logs(console.line)
        self._service = LbcproxyService(
            self._reactor,
            config,
            self._logs,
            observers=() if quiet else (console,),
            reads_all=not quiet and _reads_all(display, wanted),
            reload=reload,
            on_failure=lambda: self._end(1),
        )

    def run(self) -> int:
        """Run until a signal or a failure, or until the reader of the output has gone.

        Returns:
            The exit code.
        """
        from lbcproxy.cli.terminal import drain, print_from_any_thread
        from lbcproxy.service import raise_open_files, return_freed_memory, run_reactor

        raise_open_files()
        return_freed_memory()
        service, logs = self._service, self._logs
        service.set_logs(service.config)
        logs.begin()
        try:
            service.open()
            code = run_reactor(
                self._until_ended,
                service.stopService,
                service.abort,
                self._reactor,
                service.hang_up,
                service.dump_rings,
            )
        finally:
            service.dump_rings()  # does nothing after an orderly stop
            logs.end()
            if logs.lost:
                text = f"{logs.lost:,} lines of the log could not be written: {logs.why}"
                print_from_any_thread(text)
            printed = drain(*self._outputs)
        return code if printed and not (logs.lost or service.failed) else 1

    async def _until_ended(self) -> int:
        return await self._ended

    def _end(self, code: int) -> None:
        if not self._ended.called:
            self._ended.callback(code)

    def _reader_gone(self) -> None:
        """Stop, as `| head` stops any program; with -q the traffic is what counts, not the log."""
        if not self._quiet:
            self._service.stopService().addBoth(lambda _: self._end(1))


def _reads_all(display: DisplayOptions, wanted: Filter | None) -> bool:
    """Whether every message has to be decoded, for its lines or for the filter."""
    printed = display["kind"] != "text" or display["tree"] or display["hexdump"]
    return printed or (wanted is not None and wanted.needs_record)
