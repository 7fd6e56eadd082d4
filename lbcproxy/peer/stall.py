"""Who does not answer: a deadline for each answer that a request calls for (PEER.md S)."""

from __future__ import annotations

from lbcproxy.peer.config import Timeouts

__all__ = ["Stall"]

ANSWERS: dict[str, tuple[str, ...]] = {
    "version": ("verack",),
    "mempool": ("inv",),
    "getblocks": ("inv",),
    "getdata": ("block", "merkleblock", "tx", "notfound"),
    "getheaders": ("headers",),
}
"""What is sent, and any one of which answers it. `ping` and `getaddr` may go unanswered."""


class Stall:
    """The answers that are waited for. Times are in seconds of one clock."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._deadlines: dict[str, float] = {}
        self._asked: dict[str, float] = {}

    def sent(self, command: str, now: float) -> None:
        """Take note of a request; asking again gives more time."""
        wait = self._timeouts.headers if command == "getheaders" else self._timeouts.answer
        for answer in ANSWERS.get(command, ()):
            self._deadlines[answer], self._asked[answer] = now + wait, now

    def received(self, command: str) -> None:
        """Take note of an answer: one of a group stands for all."""
        for answers in ANSWERS.values():
            if command in answers:
                for answer in answers:
                    self._deadlines.pop(answer, None)

    def put_off(self, seconds: float, now: float) -> None:
        """Give more time: we did not read for so long until now, so nobody could answer.

        What was asked meanwhile has more time from then on only.
        """
        for answer in self._deadlines:
            self._deadlines[answer] += min(seconds, now - self._asked[answer])

    def overdue(self, now: float) -> list[str]:
        """Give the answers that should have come, and wait for them no longer."""
        late = sorted(answer for answer, deadline in self._deadlines.items() if now >= deadline)
        for answer in late:
            del self._deadlines[answer]
        return late
