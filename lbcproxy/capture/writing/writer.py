"""The base of what writes a format: an observer of captures, or of live sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from lbcproxy.capture.events import Event, SectionHeader
from lbcproxy.session import Lost, SessionInfo
from lbcproxy.session.events import Delivered, NotRecorded, SessionEvent

__all__ = ["FormatWriter", "Writer"]


class Writer:
    """Writes the events of captures. `unsupported` counts what the format cannot hold."""

    def __init__(self) -> None:
        self.unsupported: Counter[str] = Counter()
        self.messages = 0
        """How many messages have been written."""

    def session_started(self, _info: SessionInfo) -> Writer:
        """Return itself, as the observer of each session."""
        return self

    def handle(self, event: Event) -> None:
        """Write what happened next."""
        match event:
            case SectionHeader():
                self.header(event)
            case NotRecorded():
                self.not_recorded(event.lost, event.time_ns)
            case Delivered():
                self.messages += event.messages
                self.session_event(event)
            case _:
                self.session_event(event)

    def header(self, header: SectionHeader) -> None:
        """Begin a section: sessions that are open do not continue."""

    def session_event(self, event: SessionEvent) -> None:
        """Write what happened in a session."""

    def not_recorded(self, lost: Lost, time_ns: int) -> None:
        """Write that something is missing, if the format can hold that."""
        self.count_unsupported("counts of what was not recorded")

    def close(self) -> None:
        """Write the rest."""

    def count_unsupported(self, what: str, count: int = 1) -> None:
        """Count something that the format cannot hold, by its description."""
        if count:
            self.unsupported[what] += count


class FormatWriter(msgspec.Struct, frozen=True):
    """How a format is written: to a file, or into a folder."""

    name: str
    """The name of its `Format`."""
    to_file: Callable[[Callable[[bytes], object]], Writer] | None = None
    """Return a writer that passes the bytes of a file to a function, in order."""
    to_folder: Callable[[Path], Writer] | None = None
    """Return a writer of the files in a folder."""
