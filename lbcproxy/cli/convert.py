"""`lbcproxy convert`: write a capture in another format."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from lbcproxy.cli.options import network_option, the_network

__all__ = ["command"]

FORMATS = ("core", "ndjson", "pcap", "pcapng")
"""Known without the formats being imported: help should not wait for them."""


@click.command(name="convert", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="IN", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "-F",
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="The format of OUT; else its suffix tells it.",
)
@network_option(required=False)
@click.option("--force", is_flag=True, help="Write over OUT if it exists.")
def command(source: Path, target: Path, form: str | None, network: str | None, force: bool) -> int:
    """Write the capture IN in another format, into OUT.

    pcapng holds all; ndjson too; pcap what Wireshark needs; core is the folder of Bitcoin Core's
    -capturemessages. OUT may end in .gz or .zst, and - is the standard input or output. What the
    format of OUT cannot hold is said. docs/captures.md has a table of that.

    A damaged file is converted as far as it is good; the exit code is 3 then.
    """
    from lbcproxy.capture import UnknownNetwork, open_capture
    from lbcproxy.cli.show import reader_gone

    chain = None if network is None else the_network(network)
    module = _format(target, form)
    try:
        capture = open_capture("/dev/stdin" if str(source) == "-" else source, chain)
    except OSError as error:
        raise click.ClickException(f"cannot read {source}: {error.strerror}") from None
    try:
        return _convert(capture, target, module, force)
    except UnknownNetwork as error:
        raise click.UsageError(str(error)) from None
    except FileExistsError as error:
        raise click.ClickException(
            f"{error} exists: it is not written over without --force"
        ) from None
    except BrokenPipeError:
        reader_gone()
        return 0


def _format(target: Path, form: str | None) -> Any:
    from lbcproxy.capture.convert import choose_format
    from lbcproxy.errors import CaptureError

    if str(target) == "-" and form in (None, "core"):
        raise click.UsageError("OUT is - : say -F pcapng, pcap or ndjson")
    try:
        return choose_format(target, form)
    except CaptureError as error:
        raise click.UsageError(f"{error}: say -F, one of {', '.join(FORMATS)}") from None


def _convert(capture: Any, target: Path, form: Any, force: bool) -> int:
    from lbcproxy.capture.convert import writing
    from lbcproxy.capture.events import Passed
    from lbcproxy.cli.progress import reading

    messages = 0
    out: Any = sys.stdout.buffer if str(target) == "-" else target
    writer: Any = None
    try:
        with reading(capture.path) as capture.opened, writing(out, form, force=force) as writer:
            for event in capture.events():
                writer.take(event)
                if isinstance(event, Passed):
                    messages += sum(len(each.entries) for each in event.passages)
    finally:
        if writer is not None:
            _say(capture, writer, form.NAME)
    sessions = capture.sessions
    if out is target:
        click.echo(f"Wrote {messages:,} messages of {sessions:,} sessions to {target}.")
    return 0


def _say(capture: Any, writer: Any, name: str) -> None:
    """Say what was not read, and what could not be written."""
    for notice in capture.met.notices if capture.met.segments else ():
        click.echo(f"lbcproxy: {notice}", err=True)
    for what, count in sorted(writer.lacks.items()):
        click.echo(f"lbcproxy: {name} cannot hold {what}: {count:,}", err=True)
