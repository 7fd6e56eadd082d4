"""Connections on which no byte was sent: what became of them, counted by server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import TypedDict

from lbcproxy.endpoint import Endpoint

__all__ = ["Silence", "SilentConnections", "SilentCount", "silent_sentences"]

_MAX_SERVERS = 1_000
"""A scan of ports has very many: of the others only the number is told."""
_MAX_SENTENCES = 8


class Silence(StrEnum):
    """What became of a connection without a byte."""

    REFUSED = "refused"
    """The server answered the SYN with a reset."""
    UNANSWERED = "unanswered"
    """The server said nothing."""
    SILENT = "silent"
    """It was opened."""


_WORDS = {
    Silence.REFUSED: "refused",
    Silence.UNANSWERED: "not answered",
    Silence.SILENT: "opened, but no byte was sent",
}


class SilentCount(TypedDict):
    """One line of them, as `info -T json` prints it."""

    server: str | None
    outcome: str
    connections: int


class SilentConnections:
    """Counts connections on which no byte was sent."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[Endpoint | None, Silence]] = Counter()

    @property
    def total(self) -> int:
        """How many there were."""
        return self._counts.total()

    def add(self, server: Endpoint, silence: Silence) -> None:
        """Count one."""
        key: tuple[Endpoint | None, Silence] = server, silence
        if key not in self._counts and len(self._counts) >= _MAX_SERVERS:
            key = None, silence
        self._counts[key] += 1

    def to_list(self) -> list[SilentCount]:
        """Return all counts as data, the most frequent first; server None is all other servers."""
        return [
            SilentCount(
                server=None if server is None else str(server),
                outcome=silence.value,
                connections=count,
            )
            for (server, silence), count in self._counts.most_common()
        ]

    def sentences(self) -> list[str]:
        """Return them in words, as `3 connections to 10.0.0.2:29246: refused`."""
        return silent_sentences(self.to_list())


def silent_sentences(counts: Sequence[SilentCount]) -> list[str]:
    """Return in words what `SilentConnections.to_list` has as data."""
    found = [
        f"{_connections(each['connections'])} to {each['server'] or 'other servers'}: "
        f"{_WORDS[Silence(each['outcome'])]}"
        for each in counts[:_MAX_SENTENCES]
    ]
    rest = sum(each["connections"] for each in counts[_MAX_SENTENCES:])
    if rest:
        found.append(f"{_connections(rest)} more on which no byte was sent")
    return found


def _connections(count: int) -> str:
    return f"{count:,} connection{'' if count == 1 else 's'}"
