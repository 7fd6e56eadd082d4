"""What writes a format: an observer that may be told all that happened in a capture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from lbcproxy.capture.events import Event, Header, Passed, tell
from lbcproxy.session import Lost, Observer, SessionInfo

__all__ = ["FormatWriter", "Writer"]


class Writer(Observer):
    """Takes the events of captures. `lacks` counts what the format cannot hold, in words."""

    def __init__(self) -> None:
        self.lacks: Counter[str] = Counter()
        self.messages = 0
        """How many messages are written."""

    def take(self, event: Event) -> None:
        """Write what happened next."""
        if isinstance(event, Header):
            self.header(event)
            return
        if isinstance(event, Passed):
            self.messages += event.messages
        tell(event, self)

    def header(self, header: Header) -> None:
        """Begin a section: sessions that are open do not go on."""

    def close(self) -> None:
        """Write what is left to be written."""

    def missed(self, facts: SessionInfo | None, lost: Lost, time_ns: int) -> None:
        """Say that something is missing, where the format can."""
        self.lacking("counts of what was not recorded")

    def lacking(self, what: str, count: int = 1) -> None:
        """Count something that cannot be held."""
        if count:
            self.lacks[what] += count


class FormatWriter(msgspec.Struct, frozen=True):
    """How a format is written: to a file, or into a folder."""

    name: str
    """The format's, as in its `Format`."""
    to_file: Callable[[Callable[[bytes], object]], Writer] | None = None
    """Return a writer that passes the bytes of a file to a function, in order."""
    to_folder: Callable[[Path], Writer] | None = None
    """Return a writer of the files in a folder."""
