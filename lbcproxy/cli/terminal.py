"""Standard output and standard error: their width and colours, background writing, failures."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

import click

from lbcproxy.cli.sanitizer import sanitize

if TYPE_CHECKING:
    from lbcproxy.background import PlainOutput, TextOutput

__all__ = [
    "background_output",
    "closed_by_reader",
    "columns_of",
    "drain",
    "has_colours",
    "print_error",
    "print_from_any_thread",
    "printing",
]


def has_colours(stream: TextIO) -> bool:
    """Whether a stream is a terminal whose user has not turned colours off (NO_COLOR)."""
    refused = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not refused


def columns_of(stream: TextIO) -> int:
    """Return the width of a terminal in columns; 0 if the stream is not a terminal."""
    return shutil.get_terminal_size().columns if stream.isatty() else 0


def print_error(text: str) -> None:
    """Print a message of the program to standard error."""
    click.echo(f"lbcproxy: {text}", err=True)


def print_from_any_thread(text: str) -> None:
    """Print a message to standard error from any thread, if standard error can be written."""
    line = f"lbcproxy: {sanitize(text)}\n"
    with suppress(OSError, ValueError):
        os.write(sys.stderr.fileno(), line.encode(errors="backslashreplace"))


def closed_by_reader() -> None:
    """Discard what is still to be printed, since the reader of standard output has gone.

    Otherwise Python would report a broken pipe when the program exits.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def printing() -> Iterator[None]:
    """Report a failure to write standard output as such; BrokenPipeError is left to the caller."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        text = f"cannot write to standard output: {error.strerror}"
        raise click.ClickException(text) from None


def background_output(
    stream: TextIO, on_closed: Callable[[], object] = bool
) -> PlainOutput | TextOutput:
    """Return an output that writes a standard stream in a background thread.

    Args:
        stream: Standard output or standard error. Failures are reported on standard error.
        on_closed: Called, in the background thread, when the reader of the stream has gone.
    """
    from lbcproxy.background import PlainOutput, TextOutput

    try:
        descriptor = stream.fileno()
    except OSError:  # a stream in memory, which never blocks
        return PlainOutput(stream)
    stream.flush()
    name = "standard error" if stream is sys.stderr else "standard output"

    def failed(text: str) -> None:
        print_from_any_thread(f"{name}: {text}")

    return TextOutput(descriptor, stream.encoding, failed, on_closed)


def drain(*outputs: PlainOutput | TextOutput) -> bool:
    """Write what is still buffered; report what was lost, and return whether nothing was."""
    for output in outputs:
        output.drain()
        if output.lost:
            print_from_any_thread(f"{output.lost:,} lines could not be printed: {output.why}")
    return not any(output.lost for output in outputs)
