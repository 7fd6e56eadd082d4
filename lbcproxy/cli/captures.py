"""Opening captures for a command, and reporting what could not be read from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from lbcproxy.cli.options import the_faults, the_network
from lbcproxy.cli.terminal import print_error

if TYPE_CHECKING:
    from lbcproxy.capture import Capture
    from lbcproxy.networks import Network
    from lbcproxy.session import Entry, Observer
    from lbcproxy.transport.key_log import KeyLog

__all__ = [
    "key_log_option",
    "open_for_command",
    "open_inputs",
    "print_notices",
    "read_key_log",
    "through_plugins",
]

F = TypeVar("F", bound=Callable[..., object])


def key_log_option(*, required: bool) -> Callable[[F], F]:
    """Add `--keys`."""
    return click.option(
        "--keys",
        metavar="FILE",
        required=required,
        type=click.Path(path_type=Path),
        help="A key log with the secrets of encrypted connections, which are decrypted with them.",
    )


def read_key_log(path: Path) -> KeyLog:
    """Read a key log; lines that cannot be read are reported.

    Raises:
        ClickException: The file cannot be read, or has no key.
    """
    from lbcproxy.transport.key_log import KeyLog

    try:
        with path.open(encoding="latin-1") as file:
            key_log = KeyLog(file)
    except OSError as error:
        raise click.ClickException(f"cannot read {path}: {error.strerror}") from None
    for number in key_log.bad_lines:
        print_error(f"{path}, line {number}: not the line of a key log; ignored")
    if not key_log:
        raise click.ClickException(f"{path} has no key: docs/encrypted.md describes its lines")
    return key_log


def open_for_command(path: Path, network: Network | None, key_log: KeyLog | None = None) -> Capture:
    """Open one capture; raises a ClickException if it cannot be read."""
    from lbcproxy.capture import open_capture

    try:
        return open_capture(path, network, key_log=key_log)
    except OSError as error:
        raise click.ClickException(f"cannot read {path}: {error.strerror}") from None


def open_inputs(paths: Sequence[Path], network: str | None) -> list[Capture]:
    """Open captures, `-` being standard input; raises a ClickException for one that is unreadable.

    Args:
        paths: The files, in the order of the command line.
        network: The id of the chain, or None to recognise it.
    """
    chain = None if network is None else the_network(network)
    inputs = (Path("/dev/stdin") if str(path) == "-" else path for path in paths)
    return [open_for_command(path, chain) for path in inputs]


def print_notices(capture: Capture) -> None:
    """Print everything that was not read from a capture to standard error, one line each."""
    for notice in capture.stats.notices:
        print_error(notice)


def through_plugins(
    capture: Capture,
    plugins: Sequence[str],
    faults: tuple[str, ...],
    seed: int,
    observer: Observer | None = None,
) -> Iterable[Entry]:
    """Return the entries of a capture as plugins and faults would have left them.

    Args:
        capture: The capture to read.
        plugins: Plugins as the command line has them: a file and its settings.
        faults: Faults as the command line has them; they must act on messages, not on bytes.
        seed: The seed of the random numbers that faults use.
        observer: Notified of the sessions as if they were live.
    """
    from lbcproxy.plugins.loader import PluginFile, parse_spec
    from lbcproxy.proxy import Plugins
    from lbcproxy.replay import offline

    parsed = the_faults(faults)
    for fault in parsed:
        if not fault.by_message:
            raise click.UsageError(f"--fault: {fault.type} acts on bytes, so it needs a connection")
    loaded = Plugins(tuple(PluginFile(parse_spec(text)) for text in plugins))
    return offline(capture, loaded, print_error, faults=parsed, seed=seed, observer=observer)
