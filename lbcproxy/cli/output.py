"""Writing a capture made from other captures: shared options, error messages and reports."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, TypeVar

import click

from lbcproxy.cli.captures import print_notices
from lbcproxy.cli.options import add_options, network_option
from lbcproxy.cli.terminal import closed_by_reader, print_error
from lbcproxy.discover import names

if TYPE_CHECKING:
    from lbcproxy.capture import Capture, Event
    from lbcproxy.capture.writing.writer import FormatWriter, Writer

__all__ = [
    "FORMATS",
    "OutputOptions",
    "output_format",
    "output_options",
    "print_unsupported",
    "write_capture",
    "write_events",
]

F = TypeVar("F", bound=Callable[..., object])

WRITERS = frozenset(names("lbcproxy.capture.writing"))
FORMATS = tuple(name for name in names("lbcproxy.capture.formats") if name in WRITERS)
"""The formats that can be written. Their modules are not imported for this."""


class OutputOptions(TypedDict):
    """The values of the options that `output_options` adds, except the network."""

    form: str | None
    force: bool
    in_place: bool


def output_options(command: F) -> F:
    """Add `-F`, `--network`, `--force` and `--in-place`."""
    return add_options(
        command,
        (
            click.option(
                "-F",
                "--format",
                "form",
                type=click.Choice(FORMATS),
                help="The format of OUT. The default follows from its suffix.",
            ),
            network_option(required=False),
            click.option("--force", is_flag=True, help="Overwrite OUT if it exists."),
            click.option(
                "--in-place",
                is_flag=True,
                help="Overwrite OUT even if it is one of the inputs. It is replaced once "
                "everything has been written.",
            ),
        ),
    )


def write_capture(capture: Capture, target: Path, options: OutputOptions) -> int:
    """Write everything in a capture to a file, print how much that was, and return the exit code.

    It is as `write_events` for all events of one capture.
    """

    def summary(messages: int) -> list[str]:
        if str(target) == "-":
            return []
        return [f"Wrote {messages:,} messages of {capture.sessions:,} sessions to {target}."]

    return write_events([capture], capture.events(), target, options, summary)


def write_events(
    captures: Sequence[Capture],
    events: Iterable[Event],
    target: Path,
    options: OutputOptions,
    summary: Callable[[int], Iterable[str]],
) -> int:
    """Write events made from captures to a file, and print what was lost on the way.

    Args:
        captures: The captures that the events are read from.
        events: What to write.
        target: The file to write, or `-` for standard output.
        options: The values of `output_options`.
        summary: Returns the lines that are printed at the end, given the number of messages. They
            are also printed if a capture is damaged, before that is raised. They go to standard
            error if the capture itself goes to standard output.

    Returns:
        The exit code.
    """
    from lbcproxy.capture import UnknownNetwork
    from lbcproxy.capture.tools.convert import is_input
    from lbcproxy.errors import CaptureError

    form = output_format(target, options["form"])
    inputs = [capture.path for capture in captures]
    force = options["force"]
    if str(target) != "-" and is_input(target, inputs, form, in_place=options["in_place"]):
        target, force = target.resolve(), True
    try:
        _write(captures, events, target, form, force, summary)
    except UnknownNetwork as error:
        raise click.UsageError(str(error)) from None
    except FileExistsError as error:
        raise click.ClickException(f"{error} exists; --force overwrites it") from None
    except BrokenPipeError:
        closed_by_reader()
    except CaptureError as error:
        path = captures[0].path
        if error.offset is None or len(captures) > 1:
            raise
        raise CaptureError(f"{path}: {error.what}", error.offset) from None
    return 0


def output_format(target: Path, form: str | None) -> FormatWriter:
    """Return the format to write.

    Raises:
        UsageError: Neither `form` nor the suffix of `target` says which.
    """
    from lbcproxy.capture.tools.convert import choose_format
    from lbcproxy.errors import CaptureError

    if str(target) == "-" and form in (None, "core"):
        raise click.UsageError("OUT is standard output: choose -F pcapng, pcap or ndjson")
    try:
        return choose_format(target, form)
    except CaptureError as error:
        raise click.UsageError(f"{error}: choose -F, one of {', '.join(FORMATS)}") from None


def _write(
    captures: Sequence[Capture],
    events: Iterable[Event],
    target: Path,
    form: FormatWriter,
    force: bool,
    summary: Callable[[int], Iterable[str]],
) -> None:
    from lbcproxy.capture.tools.convert import open_writer
    from lbcproxy.cli.progress import reading
    from lbcproxy.errors import CaptureError

    to_stdout = str(target) == "-"
    complete = True
    writer: Writer | None = None
    try:
        with reading(*(each.path for each in captures)) as opener:
            for each in captures:
                each.open_file = opener
            with open_writer(
                sys.stdout.buffer if to_stdout else target, form, force=force
            ) as writer:
                for event in events:
                    writer.handle(event)
    except CaptureError as error:
        complete = error.offset is not None
        raise
    except BaseException:
        complete = False
        raise
    finally:
        if complete and writer is not None:
            _print_losses(captures, writer, form.name)
            for line in summary(writer.messages):
                click.echo(line, err=to_stdout)


def _print_losses(captures: Iterable[Capture], writer: Writer, name: str) -> None:
    """Print what was not read, and what could not be written."""
    for capture in captures:
        print_notices(capture)
        for what, count in sorted(capture.stats.not_kept.items()):
            if count:
                print_error(f"{capture.path}: {what} are not kept: {count:,}")
    print_unsupported(writer, name)


def print_unsupported(writer: Writer, name: str) -> None:
    """Print everything that the output format could not hold to standard error, with a count."""
    for what, count in sorted(writer.unsupported.items()):
        print_error(f"{name} cannot hold {what}: {count:,}")
