"""`lbcproxy cut`: a part of a capture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from lbcproxy.cli.options import filter_argument, the_filter
from lbcproxy.cli.output import output_options, the_captures, write_events

__all__ = ["command"]


@click.command(name="cut", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="IN", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path, allow_dash=True))
@filter_argument
@click.option(
    "--session",
    "sessions",
    metavar="N,...",
    help="Only these sessions, by the number behind # in a line. Ranges too: 1,4-7.",
)
@click.option(
    "--from",
    "begin",
    metavar="TIME",
    help="From then on: ISO 8601 in UTC, or +SECONDS from the beginning of the capture.",
)
@click.option("--to", "end", metavar="TIME", help="Until then, likewise; both are included.")
@output_options
def command(
    source: Path,
    target: Path,
    words: tuple[str, ...],
    sessions: str | None,
    begin: str | None,
    end: str | None,
    form: str | None,
    network: str | None,
    force: bool,
    in_place: bool,
) -> int:
    """Write a part of the capture IN into OUT: what matches FILTER, of some sessions, of some time.

    Sessions keep their numbers, messages their times, verdicts and trails. Of a session that is cut
    inside its handshake the `version` messages are kept, since the rest is read with what they say.
    The format of OUT is that of its suffix: pcapng, pcap, ndjson, with .gz or .zst.

    Of a damaged file what is before the damage is cut; the exit code is 3 then.
    """
    from lbcproxy.cli.options import the_network

    wanted = the_filter(words, None if network is None else the_network(network))
    numbers = None if sessions is None else _numbers(sessions)
    bounds = _bound("--from", begin), _bound("--to", end)
    [capture] = the_captures([source], network)
    made = _Cutting(capture, wanted, numbers, bounds)
    return write_events(
        [capture],
        made.events(),
        target,
        form=form,
        force=force,
        in_place=in_place,
        done=lambda messages: made.words(messages, target),
    )


class _Cutting:
    """Begins to cut when the first event has come, which tells when the capture begins."""

    def __init__(
        self, capture: Any, wanted: Any, sessions: frozenset[int] | None, bounds: tuple[Any, Any]
    ) -> None:
        self._capture = capture
        self._wanted = wanted
        self._sessions = sessions
        self._bounds = bounds
        self._cut: Any = None

    def events(self) -> Iterator[Any]:
        from lbcproxy.capture.events import Header
        from lbcproxy.capture.tools.cut import Cut, Selection

        for event in self._capture.events():
            if isinstance(event, Header):
                yield event
            if self._cut is None:
                if isinstance(event, Header):
                    continue
                first = self._capture.stats.first_ns or event.time_ns
                begin, end = (None if bound is None else bound(first) for bound in self._bounds)
                self._cut = Cut(
                    Selection(
                        wanted=self._wanted, sessions=self._sessions, from_ns=begin, to_ns=end
                    )
                )
            yield from self._cut.of([event])

    def words(self, messages: int, target: Path) -> Iterator[str]:
        sessions = 0 if self._cut is None else self._cut.sessions
        out = 0 if self._cut is None else self._cut.left_out
        yield (
            f"Wrote {messages:,} messages of {sessions:,} sessions to {target}; "
            f"{out:,} messages are left out."
        )


def _numbers(text: str) -> frozenset[int]:
    """Read numbers of sessions: `3`, `1,2`, `4-7`."""
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
        if match is None:
            raise click.UsageError(f"--session {text}: {part!r} is no number of a session")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first > 1_000_000:
            raise click.UsageError(f"--session {text}: {part!r} is no range")
        found.update(range(first, last + 1))
    return frozenset(found)


def _bound(name: str, text: str | None) -> Any:
    """Read a time; gives what tells it once the beginning of the capture is known."""
    from lbcproxy.text import any_time

    if text is None:
        return None
    relative = re.fullmatch(r"\+(\d{1,11})(?:\.(\d{1,9}))?", text)
    if relative is not None:
        since = int(relative[1]) * 1_000_000_000 + int((relative[2] or "").ljust(9, "0"))
        return lambda first_ns: first_ns + since
    try:
        time_ns = any_time(text)
    except ValueError:
        raise click.UsageError(
            f"{name} {text}: no time as 2026-11-23T08:30:00, or +12.5 seconds from the beginning"
        ) from None
    return lambda _: time_ns
