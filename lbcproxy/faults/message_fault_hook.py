"""A fault by message in one session: the hooks through which the pipeline asks it, as a plugin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

from lbcproxy.faults.fault import Fault
from lbcproxy.faults.message_fault import MessageFault, MessageFaultState
from lbcproxy.filters import parse
from lbcproxy.plugins.packet_verdicts import NoEffect
from lbcproxy.plugins.verdicts import Verdict
from lbcproxy.session import Direction, Message, SessionInfo
from lbcproxy.transport.kind import Transport

__all__ = ["MessageFaultHook"]

STREAMS = {"upstream": (Direction.TO_UPSTREAM,), "downstream": (Direction.TO_CLIENT,)}


class SessionView(Protocol):
    """What a filter needs to know of a session; `LiveSession` has it."""

    @property
    def number(self) -> int:
        """Its number."""

    @property
    def info(self) -> SessionInfo:
        """Its addresses."""


class MessageFaultHook:
    """Asks the fault about the messages that it selects; `seconds` is the clock."""

    def __init__(self, fault: Fault, random: Random, seconds: Callable[[], float]) -> None:
        assert isinstance(fault.attributes, MessageFault)
        self.fault = fault
        self._attributes = fault.attributes
        self._filter = parse(fault.filter) if fault.filter else None
        self._state = MessageFaultState(random)
        self._seconds = seconds
        self._started = seconds()
        self._matched = 0
        self._applies = random.random() < fault.toxicity

    def asks_for(self) -> frozenset[str] | None:
        """Return the commands of the messages that it can select; None for all."""
        if not self._applies:
            return frozenset()
        return None if self._filter is None else self._filter.commands

    def on_message(self, session: SessionView, message: Message) -> Sequence[Verdict]:
        """Return the fault's verdicts, if it selects the message, is active, and chance says so."""
        if not self._selects(session, message):
            return []
        self._matched += 1
        if self._matched <= self.fault.after_messages or not self._is_active():
            return []
        if self._state.random.random() >= self.fault.probability:
            return []
        if self._attributes.needs_encryption and not _is_sent_encrypted(session, message):
            return [NoEffect("the leg is not encrypted")]
        return self._attributes.decide(message, self._state)

    def _selects(self, session: SessionView, message: Message) -> bool:
        if message.direction not in STREAMS.get(self.fault.stream, tuple(Direction)):
            return False
        selected = self._filter
        return selected is None or selected.matches(message, session.number, session.info)

    def _is_active(self) -> bool:
        since = self._seconds() - self._started - self.fault.from_seconds
        lasts = self.fault.for_seconds
        return since >= 0 and (lasts is None or since < lasts)


def _is_sent_encrypted(session: SessionView, message: Message) -> bool:
    """Whether a message leaves on an encrypted leg: the one on which its receiver sends."""
    return session.info.transport_from(message.direction.other).kind is Transport.V2
