"""One fault at work in one direction of one session: a queue, and when its head goes on."""

from __future__ import annotations

from collections import deque
from random import Random

from lbcproxy.faults.fault import Fault
from lbcproxy.faults.kind import Kind
from lbcproxy.faults.step import NEVER, Item, Memory, Step, StreamEnd, passes

__all__ = ["Stage"]

ITEM = 128
"""What it costs to keep something, beside its bytes."""


class Stage:
    """Takes items and gives them on, in order. Nothing happens by itself: `plan` says when."""

    def __init__(self, fault: Fault, random: Random, now: float) -> None:
        self.fault = fault
        self.held = 0
        """Bytes of memory that what waits takes."""
        self.over = False
        """Whether the fault has ended the direction: nothing passes any more."""
        self._queue: deque[Item] = deque()
        self._memory = Memory(random)
        self._roll = random.random()
        self._made = now
        self._began: float | None = None  # when its schedule let it act
        self._seen = 0
        self._planned: Step | None = None
        self._until = -NEVER  # when the plan is to be made anew

    @property
    def hits(self) -> bool:
        """Whether the session is among those it acts on, as its toxicity has it."""
        return self._roll < self.fault.toxicity

    def put(self, item: Item) -> None:
        """Take something in."""
        if self.over:
            return
        self._queue.append(item)
        self.held += len(item.data) + ITEM
        if len(self._queue) == 1:
            self._until = -NEVER

    def change(self, fault: Fault, now: float) -> None:
        """Go on with other attributes; what waits is planned anew."""
        self.fault = fault
        self._memory.last = now
        self._memory.free = min(self._memory.free, now)
        self._until = -NEVER

    def plan(self, now: float) -> Step | None:
        """Say what happens next, and when."""
        if now >= self._until:
            self._planned = self._plan(now)
        return self._planned

    def due(self, now: float) -> float:
        """Give the time at which it wants to be asked again."""
        step = self.plan(now)
        return min(self._until, NEVER if step is None else step.at)

    def perform(self, now: float) -> list[Item]:
        """Do what is planned and due; give what goes on."""
        step = self._planned
        assert step is not None
        self._until = -NEVER
        given: list[Item] = []
        if self._queue:
            given = self._use(step)
        memory = self._memory
        memory.last = max(memory.last, step.at)
        memory.free = step.free
        if step.end:
            self._finish()
            end = StreamEnd(by=self.fault.name, reset=step.end == "reset")
            given.append(Item(step.at, end=end))
        return given

    def release(self) -> list[Item]:
        """Give all that waits, as it is, for somebody else to keep."""
        given = list(self._queue)
        self._clear()
        return given

    def acts(self, now: float) -> bool:
        """Whether it is at work, by chance and schedule."""
        if self._began is None:
            self._begin(now)
        return self._began is not None and self._began <= now < self._ends

    @property
    def _ends(self) -> float:
        seconds = self.fault.for_seconds
        return NEVER if self._began is None or seconds is None else self._began + seconds

    def _begin(self, now: float) -> None:
        """See whether the schedule has begun, and remember since when."""
        start = self._made + self.fault.from_seconds
        if self._seen < self.fault.after_bytes or now < start or not self.hits:
            return
        self._began = max(start, now) if self.fault.after_bytes else start
        self._memory.last = self._began

    def _plan(self, now: float) -> Step | None:
        head = self._queue[0] if self._queue else None
        acts = self.acts(now)
        if acts:
            self._until = self._ends
            return None if self.over else self._kind.next(head, self._memory, now)
        start = self._made + self.fault.from_seconds
        self._until = start if self.hits and now < start else NEVER
        if head is None:
            return None
        left = self.fault.after_bytes - self._seen
        size = len(head.data)
        if self._began is None and 0 < left < size:
            size = left
        return passes(head.arrived, size)

    def _use(self, step: Step) -> list[Item]:
        """Use so much of the head up, and give what of it goes on."""
        head = self._queue[0]
        if head.end is not None:
            if step.end:
                return []
            self._pop()
            return [Item(max(step.at, head.arrived), end=head.end)]
        data, size = head.data, step.size
        if size < len(data):
            rest = memoryview(data)
            data, head.data = rest[:size], rest[size:]
            self.held -= size
        else:
            self._pop()
        self._seen += size
        if step.drop or not size:
            return []
        if self._began is not None:
            self._memory.passed += size
        return [Item(max(step.at, head.arrived), data)]

    def _pop(self) -> None:
        item = self._queue.popleft()
        self.held -= len(item.data) + ITEM

    def _finish(self) -> None:
        self.over = True
        self._clear()

    def _clear(self) -> None:
        self._queue.clear()
        self.held = 0
        self._until = -NEVER

    @property
    def _kind(self) -> Kind:
        return self.fault.kind
