"""Connections on which no byte was sent, counted by server and outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import TypedDict

from lbcproxy.endpoint import Endpoint

__all__ = ["Silence", "SilentConnections", "SilentCount", "silent_sentences"]

MAX_SERVERS = 1_000
"""Port scans have very many servers; the rest are counted together."""
MAX_SENTENCES = 8


class Silence(StrEnum):
    """The outcome of a connection without data."""

    REFUSED = "refused"
    """The server answered the SYN with a reset."""
    UNANSWERED = "unanswered"
    """The server did not answer."""
    SILENT = "silent"
    """It was opened, but neither side sent anything."""


_DESCRIPTIONS = {
    Silence.REFUSED: "refused",
    Silence.UNANSWERED: "not answered",
    Silence.SILENT: "opened, but no byte was sent",
}


class SilentCount(TypedDict):
    """The connections to one server with one outcome, as `info -T json` prints them."""

    server: str | None
    outcome: str
    connections: int


class SilentConnections:
    """Counts connections on which no byte was sent."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[Endpoint | None, Silence]] = Counter()

    @property
    def total(self) -> int:
        """The number of such connections."""
        return self._counts.total()

    def add(self, server: Endpoint, silence: Silence) -> None:
        """Count a connection."""
        key: tuple[Endpoint | None, Silence] = server, silence
        if key not in self._counts and len(self._counts) >= MAX_SERVERS:
            key = None, silence
        self._counts[key] += 1

    def to_list(self) -> list[SilentCount]:
        """Return all counts, the most frequent first; server None stands for all other servers."""
        return [
            SilentCount(
                server=None if server is None else str(server),
                outcome=silence.value,
                connections=count,
            )
            for (server, silence), count in self._counts.most_common()
        ]

    def sentences(self) -> list[str]:
        """Return the counts in words, such as `3 connections to 10.0.0.2:29246: refused`."""
        return silent_sentences(self.to_list())


def silent_sentences(counts: Sequence[SilentCount]) -> list[str]:
    """Return in words what `SilentConnections.to_list` returns as data."""
    found = [
        f"{_connections(each['connections'])} to {each['server'] or 'other servers'}: "
        f"{_DESCRIPTIONS[Silence(each['outcome'])]}"
        for each in counts[:MAX_SENTENCES]
    ]
    rest = sum(each["connections"] for each in counts[MAX_SENTENCES:])
    if rest:
        found.append(f"{_connections(rest)} more on which no byte was sent")
    return found


def _connections(count: int) -> str:
    return f"{count:,} connection{'' if count == 1 else 's'}"
