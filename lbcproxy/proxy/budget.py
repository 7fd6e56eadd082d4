"""One bound for what all sessions hold in memory together."""

from __future__ import annotations

from typing import Protocol

from twisted.logger import Logger

from lbcproxy.peer.log import LOG_FILTER

__all__ = ["Budget", "BudgetHolder"]


class BudgetHolder(Protocol):
    """A session that holds bytes."""

    number: int

    @property
    def held(self) -> int:
        """How many bytes it holds."""

    def reduce_memory(self) -> None:
        """Hold less: let go of what can be passed unread, or end."""


class Budget:
    """Bytes that sessions may hold together.

    They are of messages not whole yet, of what waits until there is an upstream, and of rings.
    Whoever holds most gives way first; `gives` of one says what it costs, if it is not that a long
    message is not read.
    """

    log = Logger(observer=LOG_FILTER)

    def __init__(self, most: int) -> None:
        self.most = most
        self._held: dict[BudgetHolder, int] = {}
        self._total = 0
        self._said = False

    @property
    def held(self) -> int:
        """Bytes that are held now."""
        return self._total

    def update(self, holder: BudgetHolder) -> None:
        """Take note of what a session holds now; while that is too much in all, somebody sheds."""
        self._count(holder)
        while self._total > self.most:
            biggest = max(self._held, key=self._held.__getitem__)
            before = self._held[biggest]
            self._say(biggest, before)
            biggest.reduce_memory()
            self._count(biggest)
            if self._held.get(biggest, 0) >= before:  # it cannot: its end will be told
                self.forget(biggest)

    def forget(self, holder: BudgetHolder) -> None:
        """Count a session no longer."""
        self._total -= self._held.pop(holder, 0)

    def _count(self, holder: BudgetHolder) -> None:
        held = holder.held
        self._total += held - self._held.pop(holder, 0)
        if held:
            self._held[holder] = held

    def _say(self, holder: BudgetHolder, held: int) -> None:
        say = self.log.debug if self._said else self.log.warn
        self._said = True
        say(
            "[#{session}] more than {most} bytes are held by all sessions together: the {held} of "
            "this one, which are the most, are let go; {gives}",
            session=holder.number,
            gives=getattr(holder, "gives", "its long messages pass unread"),
            most=self.most,
            held=held,
        )
