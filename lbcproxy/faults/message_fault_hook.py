"""A fault by message at work in one session: which messages it meets, as a plugin is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from lbcproxy.faults.fault import Fault
from lbcproxy.faults.message import Memory, MessageKind
from lbcproxy.filters import parse
from lbcproxy.plugins.verdicts import Verdict
from lbcproxy.session import Direction, Message

__all__ = ["Meeting"]

STREAMS = {"upstream": (Direction.TO_UPSTREAM,), "downstream": (Direction.TO_CLIENT,)}


class Meeting:
    """Asks the fault about the messages it is for; the time in seconds is handed in."""

    def __init__(self, fault: Fault, random: Random, seconds: Callable[[], float]) -> None:
        assert isinstance(fault.attributes, MessageKind)
        self.fault = fault
        self._kind = fault.attributes
        self._wanted = parse(fault.filter) if fault.filter else None
        self._memory = Memory(random)
        self._seconds = seconds
        self._began = seconds()
        self._met = 0
        self._acts = random.random() < fault.toxicity

    def asks_for(self) -> frozenset[str] | None:
        """Give the commands that it can meet; None for all."""
        if not self._acts:
            return frozenset()
        return None if self._wanted is None else self._wanted.commands

    def on_message(self, session: Any, message: Message) -> Sequence[Verdict]:
        """Decide about a message, if it is one of those, in its time, with its probability."""
        if not self._is_meant(session, message):
            return []
        self._met += 1
        if self._met <= self.fault.after_messages or not self._is_time():
            return []
        if self._memory.random.random() >= self.fault.probability:
            return []
        return self._kind.decide(message, self._memory)

    def _is_meant(self, session: Any, message: Message) -> bool:
        if message.direction not in STREAMS.get(self.fault.stream, tuple(Direction)):
            return False
        wanted = self._wanted
        return wanted is None or wanted.meets(message, session.number, session.facts)

    def _is_time(self) -> bool:
        since = self._seconds() - self._began - self.fault.from_seconds
        lasts = self.fault.for_seconds
        return since >= 0 and (lasts is None or since < lasts)
