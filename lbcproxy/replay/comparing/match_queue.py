"""The messages of one command in one direction that are still without their like."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from lbcproxy.replay.comparing.normalize import Said, name_of

__all__ = ["LIVE", "RECORDED", "Lane", "Waiting"]

RECORDED, LIVE = 0, 1
"""The two sides: what is compared with, and what is compared."""


class Waiting:
    """A message, or one thing of a list, that the other side has not said."""

    __slots__ = ("_name", "index", "late", "place", "said", "side", "thing")

    def __init__(
        self,
        said: Said,
        side: int,
        place: int,
        index: int | None = None,
        thing: tuple[int, bytes] | None = None,
    ) -> None:
        self.said = said
        self.side = side
        self.place = place
        """How many messages of its side were before it."""
        self.index = index
        """Its place in a list."""
        self.thing = thing
        self.late = False
        """Whether it is waited for no longer."""
        self._name: bytes | None = None

    @property
    def name(self) -> bytes:
        """The hash of the thing that the message carries, read once; empty if there is none."""
        if self._name is None:
            self._name = name_of(self.said.content()) or b""
        return self._name

    @property
    def held(self) -> int:
        """Bytes of memory; of a list its first thing has them all."""
        return 0 if self.index else self.said.held


class Lane:
    """Both sides of it, by meaning; of the same meaning the first waits in front."""

    def __init__(self) -> None:
        self._open: tuple[dict[bytes, deque[Waiting]], ...] = ({}, {})
        self.counts = [0, 0]

    def meet(self, meaning: bytes, waiting: Waiting) -> Waiting | None:
        """Return its like of the other side, which then waits no more; else let it wait."""
        found = self._open[1 - waiting.side].get(meaning)
        if found is None:
            self._open[waiting.side].setdefault(meaning, deque()).append(waiting)
            self.counts[waiting.side] += 1
            return None
        other = found.popleft()
        if not found:
            del self._open[other.side][meaning]
        self.counts[other.side] -= 1
        return other

    def waiting(self, side: int) -> Iterator[Waiting]:
        """Return all that waits on a side."""
        for each in self._open[side].values():
            yield from each

    def take_out(self, side: int, before: int) -> list[Waiting]:
        """Let go of what waits on a side from before a place, and give it in order."""
        gone: list[Waiting] = []
        for meaning, found in list(self._open[side].items()):
            while found and found[0].place < before:
                gone.append(found.popleft())
            if not found:
                del self._open[side][meaning]
        self.counts[side] -= len(gone)
        return sorted(gone, key=lambda each: (each.place, each.index or 0))
