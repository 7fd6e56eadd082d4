"""`lbcproxy replay offline`: a capture through plugins and faults, and what comes of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click

from lbcproxy.cli.options import fault_option, look_options, network_option, the_network
from lbcproxy.errors import CaptureError

__all__ = ["command"]


@click.command(name="offline", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path))
@network_option(required=False)
@click.option(
    "-s",
    "--plugin",
    "plugins",
    multiple=True,
    metavar="'FILE [NAME=VALUE ...]'",
    help="A plugin to put it through. May be given several times.",
)
@fault_option("A fault by message: drop, duplicate, reorder, corrupt, delay, replay, stall.")
@click.option("--seed", type=int, default=0, help="What the chances of faults are made of.")
@click.option(
    "-w",
    "--write",
    "out",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="Write what comes of it, in the format of OUT's suffix. OUT must not exist.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print no messages.")
@look_options
def command(
    file: Path,
    network: str | None,
    plugins: tuple[str, ...],
    faults: tuple[str, ...],
    seed: int,
    out: Path | None,
    quiet: bool,
    **look: Any,
) -> None:
    """Put a capture FILE through the proxy's core, with plugins and faults, without a network.

    Time is the capture's own: the same FILE, plugins and seed give the same, byte for byte.
    """
    from lbcproxy.capture import UnknownNetwork, open_capture
    from lbcproxy.cli.formatter import make_look
    from lbcproxy.cli.output import say_notices
    from lbcproxy.cli.progress import reading
    from lbcproxy.cli.show import colours, reader_gone, through, width_of

    stream = sys.stdout
    line = make_look(**look, colour=colours(stream), width=width_of(stream))
    chain = None if network is None else the_network(network)
    if out is not None and out.exists():
        raise click.ClickException(f"{out} exists: it is not written over")
    try:
        capture = open_capture(file, chain)
    except OSError as error:
        raise click.ClickException(f"cannot read {file}: {error.strerror}") from None
    written = nullcontext() if out is None else _writing(out, changes=bool(plugins or faults))
    damage: CaptureError | None = None
    try:
        with written as observer, reading(file, wanted=not stream.isatty()) as capture.open_file:
            try:
                for entry in through(capture, plugins, faults, seed, observer):
                    if not quiet and (text := line(entry)) is not None:
                        print(text)
            except CaptureError as error:
                damage = error  # what came before it is good, and written
            if observer is not None:
                for lost, time_ns in capture.stats.lost.each():
                    observer.missed(None, lost, time_ns)
        sys.stdout.flush()
    except UnknownNetwork as error:
        raise click.UsageError(str(error)) from None
    except BrokenPipeError:
        reader_gone()
    finally:
        say_notices(capture)
    if damage is not None:
        raise damage


@contextmanager
def _writing(out: Path, *, changes: bool) -> Iterator[Any]:
    """Give an observer that writes a capture, and say at the end what its format cannot hold."""
    from lbcproxy.capture.events import Header
    from lbcproxy.capture.tools.convert import writing
    from lbcproxy.cli.output import format_of, say_lacks

    form = format_of(out, None)
    with writing(out, form) as writer:
        writer.take(Header(legs="both" if changes else "client", changes=changes))
        yield writer
    say_lacks(writer, form.name)
