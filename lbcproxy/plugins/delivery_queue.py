"""A line: what waits in one direction for a decision, or for its time, in the order it came."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from lbcproxy.session.end import End
from lbcproxy.session.entry import Delivery, Entry
from lbcproxy.session.verdict import EntryVerdict

__all__ = ["Line", "Step", "not_sent"]


class Step:
    """What goes on in one piece: deliveries, once they are decided and due."""

    __slots__ = ("added", "added_size", "close", "deliveries", "entry", "ready", "size", "waits")

    def __init__(
        self, deliveries: Sequence[Delivery], entry: Entry | None = None, *, added: int = 0
    ) -> None:
        self.deliveries = deliveries
        self.entry = entry
        """Of the message that is to be decided about; None where nobody asked."""
        self.ready = entry is None
        self.close: End | None = None
        """Why the session ends after it, if it does."""
        self.size = _size(deliveries)
        self.waits = False
        """Whether it is in a line."""
        self.added = added
        """Messages of it that plugins put in."""
        self.added_size = self.size if added else 0
        """Their bytes."""


class Line:
    """One direction's steps. Bytes are counted as long as they wait."""

    def __init__(self) -> None:
        self._steps: deque[Step] = deque()
        self._undecided: deque[Step] = deque()
        self._behind_frame: list[Step] = []
        self._in_frame = False
        self.held = 0
        """Bytes that wait."""
        self.added = 0
        """Messages that plugins put in and that wait."""
        self.deciding = False
        """Whether a decision is under way: the next begins when it is taken."""
        self.ended = False
        """Whether nothing more will come."""

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits: what comes may go on as it came."""
        return not (self._steps or self._behind_frame)

    def passed(self, deliveries: Sequence[Delivery]) -> None:
        """Take note of what has gone on without waiting."""
        if deliveries:
            self._in_frame = not deliveries[-1].entries

    def put(self, step: Step) -> None:
        """Take what came, in order."""
        self._append(step)
        # A message that passes in parts ends with an entry; nothing may come between.
        self._in_frame = step.entry is None and not step.deliveries[-1].entries
        if not self._in_frame:
            self._steps.extend(self._behind_frame)
            self._behind_frame.clear()

    def inject(self, step: Step) -> None:
        """Take what we put in ourselves: at once, but not into a message."""
        if self._in_frame and not self.ended:
            self._behind_frame.append(step)
            self._enter(step)
        else:
            self._append(step)

    def settle(
        self, step: Step, deliveries: Sequence[Delivery], *, added: int, added_size: int
    ) -> None:
        """Take what has become of a step that waits, and how much of it plugins put in."""
        waits = step.waits  # if it does not, the line was given up meanwhile
        if waits:
            self._leave(step)
        step.deliveries, step.size = deliveries, _size(deliveries)
        step.added, step.added_size = added, added_size
        if waits:
            self._enter(step)

    def undecided(self) -> Step | None:
        """Take out the first step that nobody has decided about, to decide about it."""
        return self._undecided.popleft() if self._undecided else None

    def take_ready(self) -> list[Step]:
        """Take out what may go on."""
        ready = []
        while self._steps and self._steps[0].ready:
            step = self._steps.popleft()
            self._leave(step)
            ready.append(step)
        return ready

    def clear(self) -> list[Step]:
        """Take out all, for who gives up."""
        steps = [*self._steps, *self._behind_frame]
        self._steps.clear()
        self._undecided.clear()
        self._behind_frame.clear()
        for step in steps:
            self._leave(step)
        return steps

    def _append(self, step: Step) -> None:
        self._steps.append(step)
        if step.entry is not None:
            self._undecided.append(step)
        self._enter(step)

    def _enter(self, step: Step) -> None:
        step.waits = True
        self.held += step.size
        self.added += step.added

    def _leave(self, step: Step) -> None:
        step.waits = False
        self.held -= step.size
        self.added -= step.added


def _size(deliveries: Sequence[Delivery]) -> int:
    return sum(max(len(each.raw), len(each.sent or b"")) for each in deliveries)


def not_sent(delivery: Delivery) -> Delivery:
    """Say of what was held when the session broke off that it went nowhere."""
    entries = tuple(
        msgspec.structs.replace(
            each, verdict=EntryVerdict.DROP, trail=(*each.trail, "the session broke off")
        )
        for each in delivery.entries
    )
    return Delivery(delivery.raw, entries, b"", unread=delivery.unread)
