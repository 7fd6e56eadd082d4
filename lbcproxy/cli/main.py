"""The `lbcproxy` command: finds its commands, gives errors their words and exit codes.

0 ok, 1 an error at start or while running, 2 usage, 3 a damaged capture (what was good has been
printed), 4 two conversations differ, 130 ended by Ctrl-C.
"""

from __future__ import annotations

import importlib
import io
import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any, TextIO, cast

import click

from lbcproxy import __version__
from lbcproxy.cli.screen import Screened
from lbcproxy.errors import CaptureError, LbcproxyError

__all__ = ["cli", "main"]

COMMANDS = {
    "demo": "Watch a recorded conversation of two LBRY nodes pass through a real proxy.",
    "run": "Stand between a client and a node: show and record what passes.",
    "replay": "Play a capture again: as the node, as the client, through plugins.",
    "intercept": "Hold messages of a running proxy by hand: release, edit or drop them.",
    "record": "Switch the recording of a running proxy on and off; write its rings.",
    "probe": "Connect to a node: who is there, and what it answers.",
    "show": "List the messages of a capture.",
    "info": "Tell what is in captures: who, when, how much, and what is wrong.",
    "convert": "Write a capture in another format.",
    "diff": "Compare two captures as conversations.",
    "cut": "Write a part of a capture: by filter, session or time.",
    "merge": "Put captures together in the order of time.",
    "anonymise": "Take out of a capture what tells who spoke.",
    "repair": "Keep what is whole of a damaged capture.",
    "decode": "Decode one payload to JSON.",
    "schema": "Describe the fields of a message.",
    "wireshark-plugin": "Print or install the dissector for Wireshark.",
    "options": "Print every setting with its help, as a config file.",
}
MODULES = {"options": "settings", "wireshark-plugin": "wireshark"}
"""Commands whose module is not called as they are."""
DAMAGED = 3
INTERRUPTED = 130


class _Commands(click.Group):
    """Imports a command's module when it is asked for: help should not wait for Twisted."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = MODULES.get(cmd_name, cmd_name)
        command = importlib.import_module(f"lbcproxy.cli.{module}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS:
            raise click.UsageError(f"no command {args[0]!r}; there are {', '.join(COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if not asked:
        return
    from lbcproxy.wire.engine import ENGINES, slower

    click.echo(f"lbcproxy:  {__version__}")
    click.echo(f"Python:    {platform.python_version()}")
    for package in ("twisted", "construct", "msgspec"):
        click.echo(f"{package + ':':10} {metadata.version(package)}")
    click.echo(f"engine:    {next(iter(ENGINES))}")
    click.echo(f"Platform:  {platform.platform()}")
    if (words := slower()) is not None:
        click.echo(f"Note: {words}", err=True)
    ctx.exit()


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the versions of the program and what it stands on.",
)
def cli() -> None:
    """Stand between nodes of LBRY's or Bitcoin's network: understand, show and record.

    Begin with `lbcproxy demo`.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115  # closed by >&-
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
    streams = sys.stdout, sys.stderr
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may not have all letters
    sys.stdout, sys.stderr = (cast("TextIO", Screened(stream)) for stream in streams)
    try:
        sys.exit(_run(arguments))
    finally:
        sys.stdout, sys.stderr = streams


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = cli.main(arguments, prog_name="lbcproxy", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        _say(error.format_message())
        if isinstance(error, click.UsageError):
            where = error.ctx.command_path if error.ctx else "lbcproxy"
            _hint(f"see `{where} --help`")
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except CaptureError as error:
        _say(str(error))
        return DAMAGED if error.offset is not None else 1
    except LbcproxyError as error:
        _say(str(error))
        if error.hint:
            _hint(error.hint)
        return error.exit_code
    except OSError as error:
        _say(str(error) if error.filename else error.strerror or str(error))
        return 1
    return code if isinstance(code, int) else 0


def _say(text: str) -> None:
    click.echo(f"lbcproxy: {text}", err=True)


def _hint(text: str) -> None:
    click.echo(f"Hint: {text}", err=True)
