"""The `lbcproxy` command: run a subcommand, print its errors, and exit with its code."""

from __future__ import annotations

import io
import os
import platform
import sys
from collections.abc import Sequence
from typing import TextIO, cast

import click

from lbcproxy import __version__
from lbcproxy.cli.exit_codes import ExitCode
from lbcproxy.cli.lazy_group import LazyGroup
from lbcproxy.cli.sanitizer import SanitizedStream
from lbcproxy.errors import CaptureError, LbcproxyError

__all__ = ["cli", "main"]

COMMANDS = {
    "demo": "Watch a recorded conversation between two LBRY nodes pass through a real proxy.",
    "run": "Run the proxy between a client and a node: show and record the messages.",
    "replay": "Replay a capture: as the node, as the client, or through plugins.",
    "intercept": "Hold messages of a running proxy, then release, edit or drop them by hand.",
    "record": "Turn recording in a running proxy on or off, or write its rings.",
    "probe": "Connect to a node and report what it says about itself.",
    "show": "List the messages in a capture.",
    "info": "Summarise captures: peers, times, traffic, rates and errors.",
    "convert": "Convert a capture to another format.",
    "diff": "Compare two captures as conversations.",
    "cut": "Extract part of a capture: by filter, session or time.",
    "merge": "Merge captures in time order.",
    "anonymise": "Remove everything that identifies the peers from a capture.",
    "decrypt": "Decrypt a captured BIP324 connection with a key log.",
    "repair": "Recover the readable part of a damaged capture.",
    "decode": "Decode one payload to JSON.",
    "schema": "Describe the fields of a message.",
    "wireshark-plugin": "Print or install the Wireshark dissector.",
    "options": "Print every setting with its help, as a config file.",
}
MODULES = {"options": "settings", "wireshark-plugin": "wireshark"}
"""Commands whose module has another name than the command."""


def _module_of(name: str) -> str:
    return f"lbcproxy.cli.{MODULES.get(name, name)}"


def _version(ctx: click.Context, _: click.Parameter, requested: bool) -> None:
    if not requested:
        return
    from importlib import metadata

    from lbcproxy.wire.engine import ENGINES, missing_engine_warning

    click.echo(f"lbcproxy:  {__version__}")
    click.echo(f"Python:    {platform.python_version()}")
    for package in ("twisted", "construct", "msgspec"):
        click.echo(f"{package + ':':10} {metadata.version(package)}")
    click.echo(f"engine:    {next(iter(ENGINES))}")
    click.echo(f"Platform:  {platform.platform()}")
    if (note := missing_engine_warning()) is not None:
        click.echo(f"Note: {note}", err=True)
    ctx.exit()


@click.command(
    cls=LazyGroup,
    summaries=COMMANDS,
    module_of=_module_of,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the versions of lbcproxy and of the libraries it uses.",
)
def cli() -> None:
    """A proxy and recorder for the peer-to-peer protocol of LBRY and Bitcoin.

    Start with `lbcproxy demo`.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115  # closed by >&-
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
    streams = sys.stdout, sys.stderr
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # not every terminal can print Unicode
    sys.stdout, sys.stderr = (cast("TextIO", SanitizedStream(stream)) for stream in streams)
    try:
        sys.exit(_run(arguments))
    finally:
        sys.stdout, sys.stderr = streams


def _run(arguments: Sequence[str] | None) -> int:
    """Run a command and return its exit code; errors are printed."""
    try:
        code = cli.main(arguments, prog_name="lbcproxy", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        _print_error(error.format_message())
        if isinstance(error, click.UsageError):
            command = error.ctx.command_path if error.ctx else "lbcproxy"
            _print_hint(f"see `{command} --help`")
        return error.exit_code
    except click.Abort:
        return ExitCode.INTERRUPTED
    except CaptureError as error:
        _print_error(str(error))
        return ExitCode.ERROR if error.offset is None else ExitCode.DAMAGED
    except LbcproxyError as error:
        _print_error(str(error))
        if error.hint:
            _print_hint(error.hint)
        return error.exit_code
    except OSError as error:
        _print_error(str(error) if error.filename else error.strerror or str(error))
        return ExitCode.ERROR
    return code if isinstance(code, int) else 0


def _print_error(text: str) -> None:
    click.echo(f"lbcproxy: {text}", err=True)


def _print_hint(text: str) -> None:
    click.echo(f"Hint: {text}", err=True)
