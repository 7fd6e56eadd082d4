"""`lbcproxy show`: list the messages of a capture."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from lbcproxy.cli.options import (
    fault_option,
    filter_argument,
    look_options,
    network_option,
    the_faults,
    the_filter,
    the_network,
)
from lbcproxy.cli.screen import screened

__all__ = ["command"]


@click.command(name="show", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path))
@filter_argument
@network_option(required=False)
@click.option(
    "-s",
    "--plugin",
    "plugins",
    multiple=True,
    metavar="'FILE [NAME=VALUE ...]'",
    help="Show what plugins would have made of it. May be given several times.",
)
@fault_option(
    "The same of faults by message: drop, duplicate, reorder, corrupt, delay, replay, stall."
)
@click.option("--seed", type=int, default=0, help="What the chances of faults are made of.")
@look_options
def command(
    file: Path,
    words: tuple[str, ...],
    network: str | None,
    plugins: tuple[str, ...],
    faults: tuple[str, ...],
    seed: int,
    kind: str,
    tree: bool,
    hexdump: bool,
    **rest: Any,
) -> None:
    """List the messages of a capture FILE: one of ours, or one of tcpdump or Wireshark.

    With a FILTER, those it matches: tx, 'size > 1000', 'any(c.name == "x" for c in tx.claims)'.
    docs/filters.md has the language.

    A capture of ours names its network. For others the magic of their frames tells it, unless two
    networks share it: then say --network. What could not be read is said behind the messages.
    """
    from lbcproxy.capture import UnknownNetwork, open_capture
    from lbcproxy.cli.formatter import make_look
    from lbcproxy.cli.output import say_notices
    from lbcproxy.cli.progress import reading

    look = make_look(
        kind,
        tree=tree,
        hexdump=hexdump,
        fields=rest["fields"],
        colour=colours(sys.stdout),
        width=width_of(sys.stdout),
    )
    chain = None if network is None else the_network(network)
    wanted = the_filter(words, chain)
    try:
        capture = open_capture(file, chain)
    except OSError as error:
        raise click.ClickException(f"cannot read {file}: {error.strerror}") from None
    try:
        # A bar between lines on the same terminal would make both unreadable.
        with reading(file, wanted=not sys.stdout.isatty()) as capture.open_file:
            for entry in _through(capture, plugins, faults, seed):
                facts = capture.stats.open_sessions.get(entry.session)
                if wanted is not None and not wanted(entry, facts):
                    continue
                text = look(entry)
                if text is not None:
                    print(text)
        sys.stdout.flush()
    except UnknownNetwork as error:
        raise click.UsageError(str(error)) from None
    except BrokenPipeError:
        reader_gone()
    finally:
        say_notices(capture)


def _through(capture: Any, plugins: tuple[str, ...], faults: tuple[str, ...], seed: int) -> Any:
    """Give a capture's entries, as plugins and faults would have left them if there are any."""
    return through(capture, plugins, faults, seed) if plugins or faults else capture


def through(
    capture: Any,
    plugins: tuple[str, ...],
    faults: tuple[str, ...],
    seed: int,
    observer: Any = None,
) -> Any:
    """Give a capture's entries as plugins and faults would have left them."""
    from lbcproxy.plugins.loader import Loaded, parse_spec
    from lbcproxy.proxy import Plugins
    from lbcproxy.replay import offline

    made = the_faults(faults)
    for fault in made:
        if not fault.by_message:
            raise click.UsageError(f"--fault: {fault.type} acts on bytes, and needs a connection")
    loaded = tuple(Loaded(parse_spec(text)) for text in plugins)

    def complain(words: str) -> None:
        click.echo(f"lbcproxy: {words}", err=True)

    return offline(capture, Plugins(loaded), complain, faults=made, seed=seed, observer=observer)


def reader_gone() -> None:
    """Let go what is left to print: Python would complain of it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def printing() -> Iterator[None]:
    """Name the standard output as what failed; a reader that has gone is for the caller."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        words = f"cannot write the standard output: {error.strerror}"
        raise click.ClickException(words) from None


def output_to(stream: Any, gone: Callable[[], object] = bool) -> Any:
    """Give a background output to the standard output or error; standard error hears of failures.

    `gone` is called, in another thread, when nobody reads the stream any more.
    """
    from lbcproxy.background import PlainOutput, TextOutput

    try:
        descriptor = stream.fileno()
    except OSError:  # a stream in memory, which nobody can keep waiting
        return PlainOutput(stream)
    stream.flush()
    name = "standard error" if stream is sys.stderr else "standard output"
    return TextOutput(descriptor, stream.encoding, lambda text: complain(f"{name}: {text}"), gone)


def finish(*outputs: Any) -> bool:
    """Have all written that is to be, and say what could not be; whether that was nothing."""
    for output in outputs:
        output.drain()
        if output.lost:
            complain(f"{output.lost:,} lines could not be printed: {output.why}")
    return not any(output.lost for output in outputs)


def complain(text: str) -> None:
    """Say something on standard error, in whatever thread, if that takes it."""
    with suppress(OSError, ValueError):
        os.write(
            sys.stderr.fileno(), f"lbcproxy: {screened(text)}\n".encode(errors="backslashreplace")
        )


def width_of(stream: Any) -> int:
    """Give the columns of a terminal; 0 for what is none."""
    return shutil.get_terminal_size().columns if stream.isatty() else 0


def colours(stream: Any) -> bool:
    """Whether a stream shows colours: a terminal whose user did not refuse them (NO_COLOR)."""
    refused = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return bool(stream.isatty()) and not refused
