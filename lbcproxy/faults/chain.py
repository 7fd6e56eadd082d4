"""The faults of one direction of a session, in the order in which they were added."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from random import Random

from lbcproxy.deprecated import DeprecatedAttribute
from lbcproxy.faults.action import NEVER, FaultItem, StreamEnd
from lbcproxy.faults.fault import Fault
from lbcproxy.faults.stage import FaultStage

__all__ = ["FaultChain"]


class FaultChain:
    """Accepts bytes and ends, and returns them when the faults let them pass.

    `now` is the time of any clock, in seconds. What leaves one fault arrives at the next at the
    time it was due, however late the caller asks. So the same traffic meets the same faults.
    """

    held = DeprecatedAttribute("buffered_bytes")

    def __init__(
        self, faults: Sequence[Fault], random: Callable[[Fault], Random], now: float
    ) -> None:
        self._random = random
        self._stages: list[FaultStage] = []
        self._out: deque[FaultItem] = deque()
        self.change(faults, now)

    @property
    def buffered_bytes(self) -> int:
        """Bytes of memory that all that waits takes."""
        staged = sum(stage.buffered_bytes for stage in self._stages)
        return staged + sum(len(item.data) for item in self._out)

    @property
    def is_empty(self) -> bool:
        """Whether there is no fault and nothing waits, so that bytes need not pass through."""
        return not self._stages and not self._out

    @property
    def faults(self) -> list[Fault]:
        """The faults whose toxicity lets them act on this session."""
        return [stage.fault for stage in self._stages if stage.applies]

    def put(self, what: bytes | StreamEnd, now: float) -> None:
        """Accept bytes or an end."""
        item = FaultItem(now, end=what) if isinstance(what, StreamEnd) else FaultItem(now, what)
        self._put(0, item)

    def next(self, now: float) -> bytes | StreamEnd | None:
        """Return the next bytes or end that are due by now; None if there are none."""
        while not self._out:
            due, index = self._earliest(now)
            if due > now:
                return None
            stage = self._stages[index]
            action = stage.plan(now)
            if action is None or action.at > now:
                continue  # the fault's schedule started or stopped it, which made a new plan
            for item in stage.perform():
                self._put(index + 1, item)
        item = self._out.popleft()
        return bytes(item.data) if item.end is None else item.end

    def due(self, now: float) -> float | None:
        """Return when to call `next` if nothing else arrives; None for never."""
        if self._out:
            return now
        due, _ = self._earliest(now)
        return None if due == NEVER else due

    def change(self, faults: Sequence[Fault], now: float) -> None:
        """Replace the faults: what waits in one that is removed goes to the next.

        Those that stay keep their place. A new one comes last.
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
                self._stages.append(FaultStage(fault, self._random(fault), now))

    def release(self) -> Iterator[bytes | StreamEnd]:
        """Remove all faults and yield everything that waits, in order."""
        items = list(self._out)
        for stage in reversed(self._stages):
            items += stage.release()
        self._stages.clear()
        self._out.clear()
        for item in items:
            yield bytes(item.data) if item.end is None else item.end

    def _put(self, index: int, item: FaultItem) -> None:
        if index < len(self._stages):
            self._stages[index].put(item)
        else:
            self._out.append(item)

    def _earliest(self, now: float) -> tuple[float, int]:
        """Return when the first stage is due, and its index; of two at once the later stage."""
        found = (NEVER, -1)
        for index, stage in enumerate(self._stages):
            due = stage.due(now)
            if due <= found[0]:
                found = (due, index)
        return found

    def _remove(self, stage: FaultStage, now: float) -> None:
        index = self._stages.index(stage)
        fault = stage.fault.byte_fault
        closes = fault.closes_when_removed and stage.is_active(now) and not stage.ended
        items = stage.release()
        if closes:
            items.append(FaultItem(now, end=StreamEnd(by=stage.fault.name)))
        for item in items:
            item.arrived = now
            self._put(index + 1, item)
        self._stages.remove(stage)
