"""The messages of one command and direction that have no match on the other side yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from lbcproxy.replay.comparing.normalize import ComparedMessage, name_of

__all__ = ["LIVE", "RECORDED", "MatchQueue", "UnmatchedMessage"]

RECORDED, LIVE = 0, 1
"""The two sides of a comparison; the recorded one is the reference."""


class UnmatchedMessage:
    """A message, or one object of a list, without a match on the other side."""

    __slots__ = ("_name", "index", "late", "position", "said", "side", "thing")

    def __init__(
        self,
        said: ComparedMessage,
        side: int,
        position: int,
        index: int | None = None,
        thing: tuple[int, bytes] | None = None,
    ) -> None:
        self.said = said
        self.side = side
        self.position = position
        """Number of messages before it on its side."""
        self.index = index
        """Its index in a list, or None."""
        self.thing = thing
        self.late = False
        """Whether it is no longer expected."""
        self._name: bytes | None = None

    @property
    def name(self) -> bytes:
        """The hash of the message's object, read once; empty if it has none."""
        if self._name is None:
            self._name = name_of(self.said.content()) or b""
        return self._name

    @property
    def memory(self) -> int:
        """Bytes of memory; for a list, its first object counts for all."""
        return 0 if self.index else self.said.memory


class MatchQueue:
    """The unmatched messages of both sides, by digest; first in, first out."""

    def __init__(self) -> None:
        self._open: tuple[dict[bytes, deque[UnmatchedMessage]], ...] = ({}, {})
        self.counts = [0, 0]

    def match(self, digest: bytes, waiting: UnmatchedMessage) -> UnmatchedMessage | None:
        """Return and remove the match on the other side; queue the message if there is none."""
        found = self._open[1 - waiting.side].get(digest)
        if found is None:
            self._open[waiting.side].setdefault(digest, deque()).append(waiting)
            self.counts[waiting.side] += 1
            return None
        other = found.popleft()
        if not found:
            del self._open[other.side][digest]
        self.counts[other.side] -= 1
        return other

    def unmatched(self, side: int) -> Iterator[UnmatchedMessage]:
        """Yield the unmatched messages of a side."""
        for each in self._open[side].values():
            yield from each

    def remove_before(self, side: int, before: int) -> list[UnmatchedMessage]:
        """Remove and return the messages of a side before a position, in order."""
        gone: list[UnmatchedMessage] = []
        for digest, found in list(self._open[side].items()):
            while found and found[0].position < before:
                gone.append(found.popleft())
            if not found:
                del self._open[side][digest]
        self.counts[side] -= len(gone)
        return sorted(gone, key=lambda each: (each.position, each.index or 0))
