"""`lbcproxy cut`: extract part of a capture."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from lbcproxy.cli.captures import open_inputs
from lbcproxy.cli.options import filter_argument, the_filter, the_network
from lbcproxy.cli.output import OutputOptions, output_options, write_events

if TYPE_CHECKING:
    from lbcproxy.capture import Capture, Event
    from lbcproxy.capture.tools.cut import Cutter
    from lbcproxy.filters import Filter

__all__ = ["command"]

Bound = Callable[[int], int]
"""Returns a time in nanoseconds, given the time at which the capture starts."""


@click.command(name="cut", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="IN", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path, allow_dash=True))
@filter_argument
@click.option(
    "--session",
    "sessions",
    metavar="N,...",
    help="Keep only these sessions, by number (the one after #) or range: 1,4-7.",
)
@click.option(
    "--from",
    "begin",
    metavar="TIME",
    help="Start at this time: ISO 8601 in UTC, or +SECONDS from the start of the capture.",
)
@click.option(
    "--to", "end", metavar="TIME", help="Stop at this time, written like --from. Both are included."
)
@output_options
def command(
    source: Path,
    target: Path,
    words: tuple[str, ...],
    sessions: str | None,
    begin: str | None,
    end: str | None,
    network: str | None,
    **options: Unpack[OutputOptions],
) -> int:
    """Copy part of the capture IN to OUT: what matches FILTER, some sessions, a span of time.

    Sessions keep their numbers, and messages their times, verdicts and trails. The `version`
    messages of a session are kept even if they lie outside the part, because the rest cannot be
    decoded without them. The suffix of OUT chooses its format: pcapng, pcap or ndjson, optionally
    with .gz or .zst.

    A damaged capture is read up to the damage, and the exit code is 3.
    """
    wanted = the_filter(words, None if network is None else the_network(network))
    numbers = None if sessions is None else _session_numbers(sessions)
    bounds = _parse_bound("--from", begin), _parse_bound("--to", end)
    [capture] = open_inputs([source], network)
    extract = _Extract(capture, wanted, numbers, bounds)
    return write_events(
        [capture],
        extract.events(),
        target,
        options,
        lambda messages: extract.summary(messages, target),
    )


class _Extract:
    """Selects events, once the first of them has told when the capture starts."""

    def __init__(
        self,
        capture: Capture,
        wanted: Filter | None,
        sessions: frozenset[int] | None,
        bounds: tuple[Bound | None, Bound | None],
    ) -> None:
        self._capture = capture
        self._wanted = wanted
        self._sessions = sessions
        self._bounds = bounds
        self._cut: Cutter | None = None

    def events(self) -> Iterator[Event]:
        from lbcproxy.capture.events import SectionHeader

        for event in self._capture.events():
            if isinstance(event, SectionHeader):
                yield event
                if self._cut is None:
                    continue
            elif self._cut is None:
                self._cut = self._new_cut(self._capture.stats.first_ns or event.time_ns)
            yield from self._cut.apply([event])

    def _new_cut(self, start_ns: int) -> Cutter:
        from lbcproxy.capture.tools.cut import Cutter, Selection

        begin, end = (None if bound is None else bound(start_ns) for bound in self._bounds)
        return Cutter(
            Selection(wanted=self._wanted, sessions=self._sessions, from_ns=begin, to_ns=end)
        )

    def summary(self, messages: int, target: Path) -> Iterator[str]:
        sessions = 0 if self._cut is None else self._cut.sessions
        left_out = 0 if self._cut is None else self._cut.left_out
        yield (
            f"Wrote {messages:,} messages of {sessions:,} sessions to {target}; "
            f"left out {left_out:,} messages."
        )


def _session_numbers(text: str) -> frozenset[int]:
    """Parse session numbers: `3`, `1,2`, `4-7`; raises UsageError."""
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
        if match is None:
            raise click.UsageError(f"--session {text}: {part!r} is not a session number")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first > 1_000_000:
            raise click.UsageError(f"--session {text}: {part!r} is not a range")
        found.update(range(first, last + 1))
    return frozenset(found)


def _parse_bound(option: str, text: str | None) -> Bound | None:
    """Parse a time, which may be relative to the start of the capture; raises UsageError."""
    from lbcproxy.text import any_time

    if text is None:
        return None
    relative = re.fullmatch(r"\+(\d{1,11})(?:\.(\d{1,9}))?", text)
    if relative is not None:
        offset_ns = int(relative[1]) * 1_000_000_000 + int((relative[2] or "").ljust(9, "0"))
        return lambda start_ns: start_ns + offset_ns
    try:
        time_ns = any_time(text)
    except ValueError:
        raise click.UsageError(
            f"{option} {text}: expected a time such as 2026-11-23T08:30:00, or +12.5 (seconds "
            "from the start of the capture)"
        ) from None
    return lambda _: time_ns
