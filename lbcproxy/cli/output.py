"""What the commands share that write a capture of captures: options, errors, the last words."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from lbcproxy.cli.options import network_option, the_network
from lbcproxy.discover import names

__all__ = [
    "FORMATS",
    "format_of",
    "output_options",
    "say_lacks",
    "say_notices",
    "the_captures",
    "write_events",
]

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = tuple(names("lbcproxy.capture.formats"))


def output_options(command: F) -> F:
    """Add `-F`, `--network`, `--force` and `--in-place`."""
    for option in (
        click.option(
            "--in-place",
            is_flag=True,
            help="Write over OUT also if it is what is read; it is replaced when all is written.",
        ),
        click.option("--force", is_flag=True, help="Write over OUT if it exists."),
        network_option(required=False),
        click.option(
            "-F",
            "--format",
            "form",
            type=click.Choice(FORMATS),
            help="The format of OUT; else its suffix tells it.",
        ),
    ):
        command = option(command)
    return command


def the_captures(paths: Sequence[Path], network: str | None) -> list[Any]:
    """Open captures, - the standard input; says which cannot be read."""
    from lbcproxy.capture import open_capture

    chain = None if network is None else the_network(network)
    found = []
    for path in paths:
        try:
            found.append(open_capture("/dev/stdin" if str(path) == "-" else path, chain))
        except OSError as error:
            raise click.ClickException(f"cannot read {path}: {error.strerror}") from None
    return found


def write_events(
    captures: Sequence[Any],
    events: Iterable[Any],
    target: Path,
    *,
    form: str | None,
    force: bool,
    in_place: bool,
    done: Callable[[int], Iterable[str]],
) -> int:
    """Write what is made of some captures into OUT, and say what is to be said of it.

    `done` gives the lines that are printed at the end, of how many messages were written: also if
    there is damage, which is raised behind them. With OUT on the standard output they go to
    standard error.
    """
    from lbcproxy.capture import UnknownNetwork
    from lbcproxy.capture.tools.convert import is_input
    from lbcproxy.cli.show import reader_gone
    from lbcproxy.errors import CaptureError

    module = format_of(target, form)
    inputs = [capture.path for capture in captures]
    if str(target) != "-" and is_input(target, inputs, module, in_place=in_place):
        target, force = target.resolve(), True
    try:
        return _write(captures, events, target, module, force, done)
    except UnknownNetwork as error:
        raise click.UsageError(str(error)) from None
    except FileExistsError as error:
        raise click.ClickException(
            f"{error} exists: it is not written over without --force"
        ) from None
    except BrokenPipeError:
        reader_gone()
        return 0
    except CaptureError as error:
        path = captures[0].path
        if error.offset is None or len(captures) > 1:
            raise
        raise CaptureError(f"{path}: {error.what}", error.offset) from None


def format_of(target: Path, form: str | None) -> Any:
    """Return the format to write; says which there are if neither name nor suffix tells it."""
    from lbcproxy.capture.tools.convert import choose_format
    from lbcproxy.errors import CaptureError

    if str(target) == "-" and form in (None, "core"):
        raise click.UsageError("OUT is - : say -F pcapng, pcap or ndjson")
    try:
        return choose_format(target, form)
    except CaptureError as error:
        raise click.UsageError(f"{error}: say -F, one of {', '.join(FORMATS)}") from None


def _write(
    captures: Sequence[Any],
    events: Iterable[Any],
    target: Path,
    module: Any,
    force: bool,
    done: Callable[[int], Iterable[str]],
) -> int:
    from lbcproxy.capture.tools.convert import writing
    from lbcproxy.cli.progress import reading
    from lbcproxy.errors import CaptureError

    to_pipe = str(target) == "-"
    written = True
    writer: Any = None
    try:
        with reading(*(each.path for each in captures)) as opened:
            for each in captures:
                each.open_file = opened
            out: Any = sys.stdout.buffer if to_pipe else target
            with writing(out, module, force=force) as writer:
                for event in events:
                    writer.take(event)
    except CaptureError as error:
        written = error.offset is not None
        raise
    except BaseException:
        written = False
        raise
    finally:
        if written and writer is not None:
            _say(captures, writer, module.name)
            for line in done(writer.messages):
                click.echo(line, err=to_pipe)
    return 0


def say_notices(capture: Any) -> None:
    """Print what was not read of a capture to standard error, each on a line."""
    for notice in capture.stats.notices:
        click.echo(f"lbcproxy: {notice}", err=True)


def _say(captures: Sequence[Any], writer: Any, name: str) -> None:
    """Say what was not read, and what could not be written."""
    for capture in captures:
        say_notices(capture)
        for what, count in sorted(capture.stats.not_kept.items()):
            if count:
                click.echo(f"lbcproxy: {capture.path}: {what} are not kept: {count:,}", err=True)
    say_lacks(writer, name)


def say_lacks(writer: Any, name: str) -> None:
    """Print what a format could not hold to standard error, each with how often."""
    for what, count in sorted(writer.lacks.items()):
        click.echo(f"lbcproxy: {name} cannot hold {what}: {count:,}", err=True)
