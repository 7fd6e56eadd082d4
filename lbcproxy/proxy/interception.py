"""Hold the messages that a filter matches, until the operator releases, edits or drops them.

Order is kept: what comes after a held message in its direction waits too. After a timeout a held
message is released, or dropped.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from lbcproxy.clock import Clock
from lbcproxy.filters import Filter, parse
from lbcproxy.plugins.hooks import Hooks
from lbcproxy.plugins.session_view import LiveSession
from lbcproxy.plugins.verdicts import Drop, Raw, Replace, Verdict
from lbcproxy.session import Direction, Message

__all__ = ["AFTER", "Held", "Interception"]

MAX_HELD = 1000
"""Messages that are held at once; others pass."""
AFTER = ("release", "drop")
"""What happens to a message for which there is no decision in time."""
NAME = "intercept"


class Held(msgspec.Struct, frozen=True):
    """A message that waits for a decision."""

    number: int
    session: int
    message: Message
    since: float
    """When it came, in seconds of the clock."""
    decided: Deferred[Verdict | None]

    @property
    def direction(self) -> Direction:
        """The direction in which it is going."""
        return self.message.direction


class Interception:
    """The messages that are held, of all sessions of a process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._held: dict[int, Held] = {}
        self.filter: Filter | None = None
        """Which messages are held; None for none."""
        self.timeout = 300.0
        """Seconds that a message waits for a decision."""
        self.after = "release"
        """What happens after that: one of `AFTER`."""

    @property
    def held(self) -> Sequence[Held]:
        """The messages that wait, the oldest first."""
        return tuple(self._held.values())

    def age(self, held: Held) -> float:
        """Return the seconds for which a message has waited."""
        return self._clock.seconds() - held.since

    def hold(self, text: str | None) -> None:
        """Hold the messages that a filter matches, starting with the next one.

        Args:
            text: The filter. None stops holding messages and releases those that wait.

        Raises:
            BadFilter: The filter cannot be parsed.
        """
        self.filter = None if text is None else parse(text)
        if self.filter is None:
            for each in self.held:
                self.decide(each.number, None)

    def decide(self, number: int, verdict: Verdict | None) -> None:
        """Apply a verdict to a message; None releases it. Raises KeyError if it is not waiting."""
        self._held.pop(number).decided.callback(verdict)

    def edit(self, number: int, *, raw: bytes | None = None, **fields: Any) -> None:
        """Release a message with some of its fields changed, or send other bytes in its place.

        If it raises, the message continues to wait.

        Raises:
            KeyError: The message is not waiting.
            ValueError, TypeError, wire.BadRecord: A field cannot have that value.
        """
        message = self._held[number].message
        new = message.replace(**fields) if raw is None else Raw(raw)
        self.decide(number, Replace(new, why="edited by hand"))

    def hooks(self) -> Hooks:
        """Return the hooks that hold the messages of a session."""
        return Hooks(NAME, _InterceptionHook(self))

    async def wait(self, session: LiveSession, message: Message) -> Verdict | None:
        """Hold a message if the filter matches it; return the decision."""
        if not self._matches(session, message) or len(self._held) >= MAX_HELD:
            return None
        number = next(self._numbers)
        decided: Deferred[Verdict | None] = Deferred()
        held = Held(number, session.number, message, self._clock.seconds(), decided)
        self._held[number] = held
        timer = self._clock.callLater(self.timeout, self._timed_out, number)
        try:
            return await decided
        finally:
            self._held.pop(number, None)
            if timer.active():
                timer.cancel()

    def _matches(self, session: LiveSession, message: Message) -> bool:
        wanted = self.filter
        return wanted is not None and wanted.matches(message, session.number, session.info)

    def _timed_out(self, number: int) -> None:
        if number in self._held:
            reason = f"nobody decided in {self.timeout:g} s"
            self.decide(number, Drop(reason) if self.after == "drop" else None)


class _InterceptionHook:
    """Takes part in a session as a plugin does."""

    hook_timeout = float("inf")

    def __init__(self, interception: Interception) -> None:
        self._interception = interception

    def asks_for(self) -> frozenset[str] | None:
        """Return the commands that may be held; None for all."""
        wanted = self._interception.filter
        return frozenset() if wanted is None else wanted.commands

    async def on_message(self, session: LiveSession, message: Message) -> Verdict | None:
        """Wait for a decision."""
        return await self._interception.wait(session, message)
