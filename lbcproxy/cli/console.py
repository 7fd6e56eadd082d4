"""The console of a running proxy: an observer that prints messages as they pass."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Protocol

import click

from lbcproxy.cli.formatter import Formatter
from lbcproxy.cli.sanitizer import sanitize
from lbcproxy.filters import Filter
from lbcproxy.session import Entry, SessionInfo
from lbcproxy.session.events import Delivered, SessionEvent

__all__ = ["Console"]


class TextSink(Protocol):
    """Where lines are printed: a stream, or one that is written in the background."""

    def write(self, text: str, /) -> object:
        """Write text."""

    def flush(self) -> object:
        """Have it written now."""


class Console:
    """Prints messages to `messages` and lines of the log to `events`.

    Lines that cannot be printed are dropped.

    Args:
        look: Formats a message as a line, or returns None for one that is not shown. Without it,
            only the log is printed.
        messages: Where messages are printed.
        events: Where the log is printed.
        colour: Whether to use colours.
        wanted: If given, only the messages that it matches are printed.
    """

    def __init__(
        self,
        look: Formatter | None,
        messages: TextSink,
        events: TextSink,
        *,
        colour: bool,
        wanted: Filter | None = None,
    ) -> None:
        self._look = look
        self._wanted = wanted
        self._messages = messages
        self._events = events
        self._colour = colour

    def session_started(self, _info: SessionInfo) -> Console:
        """Return itself: all sessions are printed alike."""
        return self

    def handle(self, event: SessionEvent) -> None:
        """Print the messages that passed, one line each."""
        if self._look is None or not isinstance(event, Delivered):
            return
        entries: Iterable[Entry] = itertools.chain.from_iterable(
            delivery.entries for delivery in event.deliveries
        )
        if (wanted := self._wanted) is not None:
            entries = (entry for entry in entries if wanted(entry, event.info))
        info = event.info
        lines = [line for entry in entries if (line := self._look(entry, info)) is not None]
        if lines:
            self._print(self._messages, "\n".join(lines))

    def line(self, text: str, bad: bool) -> None:
        """Print a line of the log."""
        if self._colour:
            text = click.style(text, fg="red" if bad else "bright_black")
        self._print(self._events, text)

    def _print(self, stream: TextSink, text: str) -> None:
        try:
            stream.write(sanitize(text, styles=self._colour) + "\n")
            stream.flush()
        except (OSError, ValueError):
            self._look = None  # the reader of our output is gone; the traffic goes on
