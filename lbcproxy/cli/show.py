"""`lbcproxy show`: list the messages in a capture."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from lbcproxy.cli.captures import (
    key_log_option,
    open_for_command,
    print_notices,
    read_key_log,
    through_plugins,
)
from lbcproxy.cli.options import (
    DisplayOptions,
    display_options,
    fault_option,
    filter_argument,
    network_option,
    plugin_option,
    seed_option,
    the_filter,
    the_network,
)
from lbcproxy.cli.terminal import closed_by_reader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lbcproxy.capture import Capture
    from lbcproxy.cli.formatter import Formatter
    from lbcproxy.filters import Filter
    from lbcproxy.session import Entry

__all__ = ["command"]


@click.command(name="show", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path))
@filter_argument
@network_option(required=False)
@plugin_option("Show the messages as this plugin would have left them.")
@fault_option(
    "Show the messages as this fault would have left them: drop, duplicate, reorder, corrupt, "
    "delay, replay or stall."
)
@seed_option
@key_log_option(required=False)
@display_options
def command(
    file: Path,
    words: tuple[str, ...],
    network: str | None,
    plugins: tuple[str, ...],
    faults: tuple[str, ...],
    seed: int,
    keys: Path | None,
    **display: Unpack[DisplayOptions],
) -> None:
    """List the messages in FILE, a capture of lbcproxy, tcpdump or Wireshark.

    With a FILTER, only the messages that match it are listed: tx, 'size > 1000',
    'any(c.name == "x" for c in tx.claims)'. docs/filters.md describes the language.

    A capture of lbcproxy names its network. In other captures the magic of the messages identifies
    it, unless two networks share that magic: then --network is required. What could not be read
    is reported after the messages.
    """
    from lbcproxy.capture import UnknownNetwork
    from lbcproxy.cli.formatter import formatter_for
    from lbcproxy.cli.progress import reading

    line_of = formatter_for(display, sys.stdout)
    chain = None if network is None else the_network(network)
    wanted = the_filter(words, chain)
    capture = open_for_command(file, chain, None if keys is None else read_key_log(keys))
    try:
        # A progress bar between lines on the same terminal would make both unreadable.
        with reading(file, wanted=not sys.stdout.isatty()) as capture.open_file:
            changed = bool(plugins or faults)
            entries = through_plugins(capture, plugins, faults, seed) if changed else capture
            _print(entries, capture, wanted, line_of)
        sys.stdout.flush()
    except UnknownNetwork as error:
        raise click.UsageError(str(error)) from None
    except BrokenPipeError:
        closed_by_reader()
    finally:
        print_notices(capture)


def _print(
    entries: Iterable[Entry], capture: Capture, wanted: Filter | None, line_of: Formatter
) -> None:
    """Print the entries that match a filter."""
    for entry in entries:
        session = capture.stats.open_sessions.get(entry.session)
        if wanted is not None and not wanted(entry, session):
            continue
        if (text := line_of(entry, session)) is not None:
            print(text)
