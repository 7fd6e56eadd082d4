"""A line: what waits in one direction for a decision, or for its time, in the order it came."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from lbcproxy.session.end import End
from lbcproxy.session.entry import Entry, Passage

__all__ = ["Line", "Step", "not_sent"]


class Step:
    """What goes on in one piece: passages, once they are decided and due."""

    __slots__ = ("close", "entry", "passages", "ready", "size")

    def __init__(self, passages: Sequence[Passage], entry: Entry | None = None) -> None:
        self.passages = passages
        self.entry = entry
        """Of the message that is to be decided about; None where nobody asked."""
        self.ready = entry is None
        self.close: End | None = None
        """Why the session ends after it, if it does."""
        self.size = sum(len(each.raw) or len(each.sent or b"") for each in passages)


class Line:
    """One direction's steps. Bytes are counted as long as they wait."""

    def __init__(self) -> None:
        self._steps: deque[Step] = deque()
        self._undecided: deque[Step] = deque()
        self._behind_frame: list[Step] = []
        self._in_frame = False
        self.held = 0
        """Bytes that wait."""
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

    def passed(self, passages: Sequence[Passage]) -> None:
        """Take note of what has gone on without waiting."""
        if passages:
            self._in_frame = not passages[-1].entries

    def put(self, step: Step) -> None:
        """Take what came, in order."""
        self._append(step)
        # A message that passes in parts ends with an entry; nothing may come between.
        self._in_frame = step.entry is None and not step.passages[-1].entries
        if not self._in_frame:
            while self._behind_frame:
                self._append(self._behind_frame.pop(0))

    def inject(self, step: Step) -> None:
        """Take what we put in ourselves: at once, but not into a message."""
        if self._in_frame and not self.ended:
            self._behind_frame.append(step)
        else:
            self._append(step)

    def undecided(self) -> Step | None:
        """Take out the first step that nobody has decided about, to decide about it."""
        return self._undecided.popleft() if self._undecided else None

    def take_ready(self) -> list[Step]:
        """Take out what may go on."""
        ready = []
        while self._steps and self._steps[0].ready:
            step = self._steps.popleft()
            self.held -= step.size
            ready.append(step)
        return ready

    def clear(self) -> list[Step]:
        """Take out all, for who gives up."""
        steps = [*self._steps, *self._behind_frame]
        self._steps.clear()
        self._undecided.clear()
        self._behind_frame.clear()
        self.held = 0
        return steps

    def _append(self, step: Step) -> None:
        self._steps.append(step)
        if step.entry is not None:
            self._undecided.append(step)
        self.held += step.size


def not_sent(passage: Passage) -> Passage:
    """Say of what was held when the session broke off that it went nowhere."""
    entries = tuple(
        msgspec.structs.replace(each, verdict="drop", trail=(*each.trail, "the session broke off"))
        for each in passage.entries
    )
    return Passage(passage.raw, entries, b"", unread=passage.unread)
