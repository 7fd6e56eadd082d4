"""The faults of one direction of a session, one behind the other, in the order they were added."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from random import Random

from lbcproxy.faults.fault import Fault
from lbcproxy.faults.stage import Stage
from lbcproxy.faults.step import NEVER, Item, StreamEnd

__all__ = ["Chain"]


class Chain:
    """Bytes and ends go in, and come out when the faults let them; `now` is any clock, in seconds.

    What comes out of one fault reaches the next at the time it was due, however late the caller
    comes: so the same traffic meets the same faults.
    """

    def __init__(
        self, faults: Sequence[Fault], random: Callable[[Fault], Random], now: float
    ) -> None:
        self._random = random
        self._stages: list[Stage] = []
        self._out: deque[Item] = deque()
        self.change(faults, now)

    @property
    def held(self) -> int:
        """Bytes of memory that what waits takes."""
        return sum(stage.held for stage in self._stages) + sum(len(item.data) for item in self._out)

    @property
    def is_empty(self) -> bool:
        """Whether there is no fault and nothing waits: bytes need not come here."""
        return not self._stages and not self._out

    @property
    def faults(self) -> list[Fault]:
        """The faults that this session is among those of, as their toxicity has it."""
        return [stage.fault for stage in self._stages if stage.hits]

    def put(self, what: bytes | StreamEnd, now: float) -> None:
        """Take bytes or an end in."""
        item = Item(now, end=what) if isinstance(what, StreamEnd) else Item(now, what)
        self._pass_on(0, item)

    def next(self, now: float) -> bytes | StreamEnd | None:
        """Give the next that goes out by now; None if nothing does."""
        while not self._out:
            due, number = self._earliest(now)
            if due > now:
                return None
            stage = self._stages[number]
            step = stage.plan(now)
            if step is None or step.at > now:
                continue  # the schedule came to a turn, and the plan was made anew
            for item in stage.perform(now):
                self._pass_on(number + 1, item)
        item = self._out.popleft()
        return bytes(item.data) if item.end is None else item.end

    def due(self, now: float) -> float | None:
        """Give the time at which `next` may have something, if nothing comes in."""
        if self._out:
            return now
        due, _ = self._earliest(now)
        return None if due == NEVER else due

    def change(self, faults: Sequence[Fault], now: float) -> None:
        """Have other faults: what waits in one that is gone goes on to the next.

        Those that stay keep their place; a new one comes last.
        """
        wanted = {fault.name: fault for fault in faults}
        for stage in tuple(self._stages):
            fault = wanted.get(stage.fault.name)
            if fault is not None and fault.type == stage.fault.type:
                del wanted[fault.name]
                if fault != stage.fault:
                    stage.change(fault, now)
            else:
                self._remove(stage, now)
        for fault in faults:
            if fault.name in wanted:
                self._stages.append(Stage(fault, self._random(fault), now))

    def release(self) -> Iterator[bytes | StreamEnd]:
        """Let all that waits go, in order, and have no faults any more."""
        items = list(self._out)
        for stage in reversed(self._stages):
            items += stage.release()
        self._stages.clear()
        self._out.clear()
        for item in items:
            yield bytes(item.data) if item.end is None else item.end

    def _pass_on(self, number: int, item: Item) -> None:
        if number < len(self._stages):
            self._stages[number].put(item)
        else:
            self._out.append(item)

    def _earliest(self, now: float) -> tuple[float, int]:
        """Give the first that is due; of two at once the one nearer to the end."""
        found = (NEVER, -1)
        for number, stage in enumerate(self._stages):
            due = stage.due(now)
            if due <= found[0]:
                found = (due, number)
        return found

    def _remove(self, stage: Stage, now: float) -> None:
        number = self._stages.index(stage)
        closes = stage.fault.kind.closes_when_removed and stage.acts(now) and not stage.over
        items = stage.release()
        if closes:
            items.append(Item(now, end=StreamEnd(by=stage.fault.name)))
        for item in items:
            item.arrived = now
            self._pass_on(number + 1, item)
        self._stages.remove(stage)
