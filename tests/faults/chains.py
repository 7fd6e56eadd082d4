"""A line with faults in it, on a clock that only the test turns."""

from collections.abc import Sequence
from typing import Any

from lbcproxy.faults import Fault, FaultChain, StreamEnd, random_of

__all__ = ["DrivenChain", "fault", "sent"]

OWN = ("name", "toxicity", "stream")


def fault(
    kind: str, *, after: int = 0, start: float = 0, lasts: float | None = None, **given: Any
) -> Fault:
    """Return a fault; what is not a setting is one of its attributes."""
    own = {name: given.pop(name) for name in OWN if name in given}
    schedule = {"after_bytes": after, "from_seconds": start, "for_seconds": lasts}
    return Fault(type=kind, attributes=given, **schedule, **own)


class DrivenChain:
    """A chain of faults; what comes out is in `out`, each with its time."""

    def __init__(self, *faults: Fault, session: int = 1, seed: int = 1) -> None:
        self.now = 0.0
        self.out: list[tuple[float, bytes | str]] = []
        self.ended: list[StreamEnd] = []
        self.chain = FaultChain(faults, lambda each: random_of(seed, session, each), self.now)

    def put(self, what: bytes | StreamEnd) -> "DrivenChain":
        """Send bytes, or an end."""
        self.chain.put(what, self.now)
        self._take()
        return self

    def close(self) -> "DrivenChain":
        """Let the sender end."""
        return self.put(StreamEnd(then=bool))

    def run(self, seconds: float = 1e6) -> "DrivenChain":
        """Let time pass: each thing happens when it is due."""
        until = self.now + seconds
        while (due := self.chain.due(self.now)) is not None and due <= until:
            self.now = max(self.now, due)
            self._take()
        self.now = until
        return self

    def change(self, *faults: Fault) -> "DrivenChain":
        """Have other faults."""
        self.chain.change(faults, self.now)
        self._take()
        return self

    @property
    def bytes(self) -> bytes:
        """All bytes that came out."""
        return b"".join(each for _, each in self.out if isinstance(each, bytes))

    @property
    def words(self) -> list[Any]:
        """What came out, without times."""
        return [each for _, each in self.out]

    def _take(self) -> None:
        while (what := self.chain.next(self.now)) is not None:
            if isinstance(what, StreamEnd):
                self.ended.append(what)
                word = "end" if what.then else "reset" if what.reset else "close"
                self.out.append((round(self.now, 6), word))
            else:
                self.out.append((round(self.now, 6), what))


def sent(line: DrivenChain, sizes: Sequence[int]) -> bytes:
    """Send pieces of these sizes, a tenth of a second apart; return all of it."""
    data = bytes(range(256)) * (sum(sizes) // 256 + 1)
    at = 0
    for size in sizes:
        line.put(data[at : at + size]).run(0.1)
        at += size
    return data[:at]
