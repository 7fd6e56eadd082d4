"""The console of a running proxy: an observer that prints messages as they pass."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Protocol

import click

from lbcproxy.cli.formatter import Formatter
from lbcproxy.cli.sanitizer import sanitize
from lbcproxy.filters import Filter
from lbcproxy.session import Delivery, Direction, Entry, Observer, SessionInfo

__all__ = ["Console"]


class Lines(Protocol):
    """Where lines go: a stream, or one that is written in the background."""

    def write(self, text: str, /) -> object:
        """Take text."""

    def flush(self) -> object:
        """Have it written."""


class Console(Observer):
    """Print messages to `messages` and lines of the log to `events`.

    What cannot be printed is let go. `look` may be None: then only the log is printed. With a
    filter, the messages it matches are printed.
    """

    def __init__(
        self,
        look: Formatter | None,
        messages: Lines,
        events: Lines,
        *,
        colour: bool,
        wanted: Filter | None = None,
    ) -> None:
        self._look = look
        self._wanted = wanted
        self._messages = messages
        self._events = events
        self._colour = colour

    def passed(
        self, facts: SessionInfo, direction: Direction, deliveries: Sequence[Delivery], time_ns: int
    ) -> None:
        """Print what passed, a line a message."""
        if self._look is None:
            return
        entries: Iterable[Entry] = itertools.chain.from_iterable(
            each.entries for each in deliveries
        )
        if (wanted := self._wanted) is not None:
            entries = (entry for entry in entries if wanted(entry, facts))
        lines = [line for entry in entries if (line := self._look(entry)) is not None]
        if lines:
            self._print(self._messages, "\n".join(lines))

    def line(self, text: str, bad: bool) -> None:
        """Print a line of the log."""
        if self._colour:
            text = click.style(text, fg="red" if bad else "bright_black")
        self._print(self._events, text)

    def _print(self, stream: Lines, text: str) -> None:
        try:
            stream.write(sanitize(text, styles=self._colour) + "\n")
            stream.flush()
        except (OSError, ValueError):
            self._look = None  # who read us has gone; the traffic goes on
