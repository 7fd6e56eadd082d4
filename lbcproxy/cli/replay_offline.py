"""`lbcproxy replay offline`: run a capture through plugins and faults, without a network."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from lbcproxy.cli.captures import open_for_command, print_notices, through_plugins
from lbcproxy.cli.options import (
    DisplayOptions,
    display_options,
    fault_option,
    network_option,
    plugin_option,
    seed_option,
    the_network,
)
from lbcproxy.cli.terminal import closed_by_reader
from lbcproxy.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lbcproxy.capture import Capture
    from lbcproxy.capture.writing.writer import Writer
    from lbcproxy.cli.formatter import Formatter
    from lbcproxy.session import Entry, Observer

__all__ = ["command"]


@click.command(name="offline", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path))
@network_option(required=False)
@plugin_option("A plugin to run.")
@fault_option(
    "A fault that acts on messages: drop, duplicate, reorder, corrupt, delay, replay or stall."
)
@seed_option
@click.option(
    "-w",
    "--write",
    "out",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="Write the result to a new file OUT. Its suffix chooses the format.",
)
@click.option("-q", "--quiet", is_flag=True, help="Do not print the messages.")
@display_options
def command(
    file: Path,
    network: str | None,
    plugins: tuple[str, ...],
    faults: tuple[str, ...],
    seed: int,
    out: Path | None,
    quiet: bool,
    **display: Unpack[DisplayOptions],
) -> None:
    """Run a capture FILE through the core of the proxy, with plugins and faults, offline.

    The clock is that of the capture: the same FILE, plugins and seed give the same result, byte
    for byte.
    """
    from lbcproxy.cli.formatter import formatter_for

    line_of = formatter_for(display, sys.stdout)
    chain = None if network is None else the_network(network)
    if out is not None and out.exists():
        raise click.ClickException(f"{out} exists: it is not overwritten")
    capture = open_for_command(file, chain)
    changes = bool(plugins or faults)

    def run(observer: Observer | None) -> None:
        entries = through_plugins(capture, plugins, faults, seed, observer)
        _print_entries(entries, capture, None if quiet else line_of)

    _replay(capture, run, out, changes=changes)


def _print_entries(entries: Iterable[Entry], capture: Capture, line_of: Formatter | None) -> None:
    for entry in entries:
        session = capture.stats.open_sessions.get(entry.session)
        if line_of is not None and (text := line_of(entry, session)) is not None:
            print(text)


def _replay(
    capture: Capture, run: Callable[[Observer | None], None], out: Path | None, *, changes: bool
) -> None:
    """Run a replay, and write its result to a file if there is one; raises CaptureError."""
    from lbcproxy.capture import UnknownNetwork
    from lbcproxy.cli.progress import reading
    from lbcproxy.session.events import NotRecorded

    damage: CaptureError | None = None
    output = nullcontext() if out is None else _writing(out, changes=changes)
    wanted = not sys.stdout.isatty()
    try:
        with output as observer, reading(capture.path, wanted=wanted) as capture.open_file:
            try:
                run(observer)
            except CaptureError as error:
                damage = error  # everything before it is good, and is written
            if observer is not None:
                for lost, time_ns in capture.stats.lost.each():
                    observer.handle(NotRecorded(None, lost, time_ns))
        sys.stdout.flush()
    except UnknownNetwork as error:
        raise click.UsageError(str(error)) from None
    except BrokenPipeError:
        closed_by_reader()
    finally:
        print_notices(capture)
    if damage is not None:
        raise damage


@contextmanager
def _writing(out: Path, *, changes: bool) -> Iterator[Writer]:
    """Yield an observer that writes a capture; print at the end what its format cannot hold."""
    from lbcproxy.capture.events import SectionHeader
    from lbcproxy.capture.tools.convert import open_writer
    from lbcproxy.cli.output import output_format, print_unsupported

    form = output_format(out, None)
    with open_writer(out, form) as writer:
        writer.handle(SectionHeader(legs="both" if changes else "client", changes=changes))
        yield writer
    print_unsupported(writer, form.name)
