"""The console of a running proxy: an observer that prints lines as things happen."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import click

from lbcproxy.cli.look import Look
from lbcproxy.session import Direction, Observer, Passage, SessionFacts, SessionSummary, Stage
from lbcproxy.text import printable

__all__ = ["Console"]


class Lines(Protocol):
    """Where lines go: a stream, or one that is written in the background."""

    def write(self, text: str, /) -> object:
        """Take text."""

    def flush(self) -> object:
        """Have it written."""


class Console(Observer):
    """Print messages to `messages` and events to `events`; what cannot be printed is let go.

    `look` may be None: then only events are printed.
    """

    def __init__(self, look: Look | None, messages: Lines, events: Lines, *, colour: bool) -> None:
        self._look = look
        self._messages = messages
        self._events = events
        self._colour = colour
        self.sessions = 0
        self.commands: Counter[str] = Counter()
        self.errors = 0
        """Messages and other bytes with something wrong that was seen without decoding."""

    def started(self, facts: SessionFacts, time_ns: int) -> None:
        """Say who connected."""
        self.sessions += 1
        self.event("client connect", facts, time_ns)

    def upstream_connected(self, facts: SessionFacts, time_ns: int) -> None:
        """Say that the upstream is there."""
        self.event(f"upstream connect {facts.upstream}", facts, time_ns)

    def passed(
        self, facts: SessionFacts, direction: Direction, passages: Sequence[Passage], time_ns: int
    ) -> None:
        """Print what passed, a line a message."""
        lines = []
        for passage in passages:
            entry = passage.entry
            if entry is None:
                continue
            if entry.message is None:
                self.errors += not entry.continued
            else:
                self.commands[entry.command] += 1
                self.errors += entry.message.frame_error is not None
            line = self._look(entry) if self._look is not None else None
            if line is not None:
                lines.append(line)
        if lines:
            self._print(self._messages, "\n".join(lines))

    def ended(self, summary: SessionSummary, time_ns: int) -> None:
        """Say how a session ended."""
        messages = summary.client.messages + summary.upstream.messages
        sizes = f"{summary.client.bytes:,} B up, {summary.upstream.bytes:,} B down"
        agreed = summary.protocol_version
        words = f"end: {summary.why}; {messages:,} messages, {sizes}"
        if agreed is not None:
            words += f", version {agreed}"
        if Stage.READY not in (summary.client.stage, summary.upstream.stage):
            words += ", no handshake"
        junk = summary.client.junk_bytes + summary.upstream.junk_bytes
        if junk:
            words += f", {junk:,} B junk"
        self.event(words, summary.facts, time_ns)

    def event(
        self, text: str, facts: SessionFacts | None, time_ns: int, *, bad: bool = False
    ) -> None:
        """Print something that is no message."""
        seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
        clock = time.strftime("%H:%M:%S", time.localtime(seconds))
        who = "" if facts is None else f"[#{facts.number} {facts.client}]"
        line = f"[{clock}.{nanoseconds // 1_000_000:03}]{who} {printable(text)}"
        if self._colour:
            line = click.style(line, fg="red" if bad else "bright_black")
        self._print(self._events, line)

    def _print(self, stream: Lines, text: str) -> None:
        try:
            stream.write(text + "\n")
            stream.flush()
        except (OSError, ValueError):
            self._look = None  # who read us has gone; the traffic goes on
