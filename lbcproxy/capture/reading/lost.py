"""How much a capture says that it lacks, in all."""

from __future__ import annotations

from collections.abc import Iterator

from lbcproxy.capture.packet import Statistics
from lbcproxy.session import Lost

__all__ = ["LostTotals"]

_MAX_LISTED = 100


class LostTotals:
    """What a capture lacks, as far as it has been read."""

    def __init__(self) -> None:
        self.messages = 0
        self.size = 0
        """Bytes of capture that were not written."""
        self.packets = 0
        """What others have dropped."""
        self.listed: list[tuple[Lost, int]] = []
        """The first ones, and when the file tells of them."""
        self.interfaces: dict[tuple[int, int], Statistics] = {}
        """The last counts of each interface that is not ours, by section and number."""

    def __bool__(self) -> bool:
        return bool(self.messages or self.size or self.packets)

    def __str__(self) -> str:
        return Lost(messages=self.messages, size=self.size, packets=self.packets).words

    def each(self) -> Iterator[tuple[Lost, int]]:
        """Return all in turn; what is not listed together."""
        rest = Lost(messages=self.messages, size=self.size, packets=self.packets)
        time_ns = 0
        for lost, time_ns in self.listed:
            yield lost, time_ns
            rest = Lost(
                messages=rest.messages - lost.messages,
                size=rest.size - lost.size,
                packets=rest.packets - lost.packets,
            )
        if rest:
            yield rest, time_ns

    def add(self, lost: Lost, time_ns: int) -> None:
        """Count one more."""
        self.messages += lost.messages
        self.size += lost.size
        self.packets += lost.packets
        if len(self.listed) < _MAX_LISTED:
            self.listed.append((lost, time_ns))
