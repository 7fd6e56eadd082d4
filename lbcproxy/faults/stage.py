"""One fault in one direction of one session: a queue, and when its head is sent."""

from __future__ import annotations

from collections import deque
from random import Random

from lbcproxy.faults.action import (
    NEVER,
    Action,
    CloseMode,
    FaultItem,
    StreamEnd,
    StreamState,
    forward,
)
from lbcproxy.faults.fault import Fault

__all__ = ["FaultStage"]

ITEM_OVERHEAD = 128
"""Bytes of memory that an item takes besides its data."""


class FaultStage:
    """Queues items and forwards them in order. It has no timer: `plan` returns the next action."""

    def __init__(self, fault: Fault, random: Random, now: float) -> None:
        self.fault = fault
        self.buffered_bytes = 0
        """Bytes of memory that the queue takes."""
        self.ended = False
        """Whether the fault has ended the direction: nothing passes any more."""
        self._queue: deque[FaultItem] = deque()
        self._state = StreamState(random)
        self._roll = random.random()
        self._created = now
        self._started: float | None = None  # when its schedule made it active
        self._seen = 0
        self._planned: Action | None = None
        self._plan_valid_until = -NEVER

    @property
    def applies(self) -> bool:
        """Whether its toxicity lets it act on this session."""
        return self._roll < self.fault.toxicity

    def put(self, item: FaultItem) -> None:
        """Queue an item."""
        if self.ended:
            return
        self._queue.append(item)
        self.buffered_bytes += len(item.data) + ITEM_OVERHEAD
        if len(self._queue) == 1:
            self._plan_valid_until = -NEVER

    def change(self, fault: Fault, now: float) -> None:
        """Continue with other attributes, which also apply to what is queued."""
        self.fault = fault
        self._state.last = now
        self._state.free = min(self._state.free, now)
        self._plan_valid_until = -NEVER

    def plan(self, now: float) -> Action | None:
        """Return the next action and its time; None to wait."""
        if now >= self._plan_valid_until:
            self._planned = self._plan(now)
        return self._planned

    def due(self, now: float) -> float:
        """Return the time at which `plan` should be called again."""
        action = self.plan(now)
        return min(self._plan_valid_until, NEVER if action is None else action.at)

    def perform(self) -> list[FaultItem]:
        """Perform the planned action, which is due; return what goes to the next fault."""
        action = self._planned
        assert action is not None
        self._plan_valid_until = -NEVER
        sent: list[FaultItem] = []
        if self._queue:
            sent = self._consume(action)
        state = self._state
        state.last = max(state.last, action.at)
        state.free = action.free
        if action.end is not None:
            self._finish()
            end = StreamEnd(by=self.fault.name, reset=action.end is CloseMode.RESET)
            sent.append(FaultItem(action.at, end=end))
        return sent

    def release(self) -> list[FaultItem]:
        """Empty the queue and return its items as they are."""
        items = list(self._queue)
        self._clear()
        return items

    def is_active(self, now: float) -> bool:
        """Whether the fault acts now, by its toxicity and its schedule."""
        if self._started is None:
            self._start(now)
        return self._started is not None and self._started <= now < self._stops

    @property
    def _stops(self) -> float:
        seconds = self.fault.for_seconds
        return NEVER if self._started is None or seconds is None else self._started + seconds

    def _start(self, now: float) -> None:
        """Set the time since which the schedule makes the fault active, if it does."""
        start = self._created + self.fault.from_seconds
        if self._seen < self.fault.after_bytes or now < start or not self.applies:
            return
        self._started = max(start, now) if self.fault.after_bytes else start
        self._state.last = self._started

    def _plan(self, now: float) -> Action | None:
        head = self._queue[0] if self._queue else None
        if self.is_active(now):
            self._plan_valid_until = self._stops
            return None if self.ended else self.fault.byte_fault.next(head, self._state, now)
        start = self._created + self.fault.from_seconds
        self._plan_valid_until = start if self.applies and now < start else NEVER
        if head is None:
            return None
        left = self.fault.after_bytes - self._seen
        size = len(head.data)
        if self._started is None and 0 < left < size:
            size = left
        return forward(head.arrived, size)

    def _consume(self, action: Action) -> list[FaultItem]:
        """Remove from the head what the action consumes, and return what of it is sent."""
        head = self._queue[0]
        if head.end is not None:
            if action.end is not None:
                return []
            self._pop()
            return [FaultItem(max(action.at, head.arrived), end=head.end)]
        data, size = head.data, action.size
        if size < len(data):
            rest = memoryview(data)
            data, head.data = rest[:size], rest[size:]
            self.buffered_bytes -= size
        else:
            self._pop()
        self._seen += size
        if action.drop or not size:
            return []
        if self._started is not None:
            self._state.passed += size
        return [FaultItem(max(action.at, head.arrived), data)]

    def _pop(self) -> None:
        item = self._queue.popleft()
        self.buffered_bytes -= len(item.data) + ITEM_OVERHEAD

    def _finish(self) -> None:
        self.ended = True
        self._clear()

    def _clear(self) -> None:
        self._queue.clear()
        self.buffered_bytes = 0
        self._plan_valid_until = -NEVER
