"""One limit for the bytes that all sessions buffer together."""

from __future__ import annotations

from typing import Protocol

from twisted.logger import Logger

from lbcproxy.peer.log import LOG_FILTER

__all__ = ["Budget", "BudgetHolder"]


class BudgetHolder(Protocol):
    """A session, or a ring, that buffers bytes."""

    number: int

    @property
    def held(self) -> int:
        """Bytes that it buffers."""

    def reduce_memory(self) -> None:
        """Buffer less: pass unread what can be passed unread, or end."""


class Budget:
    """The bytes that all sessions may buffer together.

    These are bytes of incomplete messages, of data that waits for an upstream, and of rings. Above
    the limit the largest holder has to reduce its memory first. A holder's attribute `gives` says
    what that costs, for the log; by default its long messages pass unread, or it ends.

    Args:
        most: The limit in bytes.
    """

    log = Logger(observer=LOG_FILTER)

    def __init__(self, most: int) -> None:
        self.most = most
        self._held: dict[BudgetHolder, int] = {}
        self._total = 0
        self._warned = False

    @property
    def held(self) -> int:
        """Bytes that are buffered now."""
        return self._total

    def update(self, holder: BudgetHolder) -> None:
        """Record how much a holder buffers now; above the limit the largest ones are reduced."""
        self._count(holder)
        while self._total > self.most:
            biggest = max(self._held, key=self._held.__getitem__)
            before = self._held[biggest]
            self._log_reduction(biggest, before)
            biggest.reduce_memory()
            self._count(biggest)
            if self._held.get(biggest, 0) >= before:  # it cannot, so it is ending
                self.forget(biggest)

    def forget(self, holder: BudgetHolder) -> None:
        """Stop counting a holder."""
        self._total -= self._held.pop(holder, 0)

    def _count(self, holder: BudgetHolder) -> None:
        held = holder.held
        self._total += held - self._held.pop(holder, 0)
        if held:
            self._held[holder] = held

    def _log_reduction(self, holder: BudgetHolder, held: int) -> None:
        log = self.log.debug if self._warned else self.log.warn
        self._warned = True
        log(
            "[#{session}] all sessions together hold more than {most} bytes: this one, which holds "
            "the most, releases its {held}; {gives}",
            session=holder.number,
            gives=getattr(holder, "gives", "its long messages pass unread, or it ends"),
            most=self.most,
            held=held,
        )
