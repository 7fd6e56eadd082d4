"""Messages held by hand: what a filter matches waits until it is released, changed or dropped.

Order is kept: what is behind a held message in its direction waits too. Nobody is waited for for
ever: after a time a message is released, or dropped.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from lbcproxy.filters import Filter, parse
from lbcproxy.plugins.hooks import Hooks
from lbcproxy.plugins.verdicts import Drop, Raw, Replace, Verdict
from lbcproxy.session import Direction, Message

__all__ = ["AFTER", "Held", "Interception"]

MOST = 1000
"""Messages that are held at once; further ones pass."""
AFTER = ("release", "drop")
"""What becomes of a message that nobody has decided about in time."""
NAME = "intercept"


class Held(msgspec.Struct, frozen=True):
    """A message that waits."""

    number: int
    session: int
    message: Message
    since: float
    """When it came, by the clock."""
    decided: Deferred[Verdict | None]

    @property
    def direction(self) -> Direction:
        """Where it is going."""
        return self.message.direction


class Interception:
    """What is held, of all sessions of a process; `clock` is Twisted's `IReactorTime`."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._held: dict[int, Held] = {}
        self.filter: Filter | None = None
        """Which messages are held; None for none."""
        self.timeout = 300.0
        """Seconds until nobody is waited for any more."""
        self.after = "release"
        """What happens then: one of `AFTER`."""

    @property
    def held(self) -> Sequence[Held]:
        """What waits, the oldest first."""
        return tuple(self._held.values())

    def age(self, held: Held) -> float:
        """Give the seconds for which a message has waited."""
        return float(self._clock.seconds()) - held.since

    def hold(self, text: str | None) -> None:
        """Hold what a filter matches, from the next message on; raises BadFilter.

        With None nothing is held any more, and what waits is released.
        """
        self.filter = None if text is None else parse(text)
        if self.filter is None:
            for each in self.held:
                self.decide(each.number, None)

    def decide(self, number: int, verdict: Verdict | None) -> None:
        """Let a message go; raises KeyError if it does not wait (any more)."""
        self._held.pop(number).decided.callback(verdict)

    def edit(self, number: int, *, raw: bytes | None = None, **fields: Any) -> None:
        """Send something else: bytes, or the message with some fields changed.

        Raises KeyError as `decide`; ValueError, TypeError or `wire.BadRecord` for fields that
        cannot be so, and the message goes on waiting.
        """
        message = self._held[number].message
        new = message.replace(**fields) if raw is None else Raw(raw)
        self.decide(number, Replace(new, why="edited by hand"))

    def hooks(self) -> Hooks:
        """Give what asks about the messages of a session."""
        return Hooks(NAME, _Asking(self))

    async def wait(self, session: Any, message: Message) -> Verdict | None:
        """Have a message wait, if it is one of those; give what was decided."""
        if not self._is_meant(session, message) or len(self._held) >= MOST:
            return None
        number = next(self._numbers)
        decided: Deferred[Verdict | None] = Deferred()
        held = Held(number, session.number, message, float(self._clock.seconds()), decided)
        self._held[number] = held
        timer = self._clock.callLater(self.timeout, self._too_long, number)
        try:
            return await decided
        finally:
            self._held.pop(number, None)
            if timer.active():
                timer.cancel()

    def _is_meant(self, session: Any, message: Message) -> bool:
        wanted = self.filter
        return wanted is not None and wanted.matches(message, session.number, session.info)

    def _too_long(self, number: int) -> None:
        if number in self._held:
            why = f"nobody decided in {self.timeout:g} s"
            self.decide(number, Drop(why) if self.after == "drop" else None)


class _Asking:
    """Asks by hand, as a plugin is asked."""

    hook_timeout = float("inf")

    def __init__(self, interception: Interception) -> None:
        self._interception = interception

    def asks_for(self) -> frozenset[str] | None:
        """Give the commands that may have to wait; None for all."""
        wanted = self._interception.filter
        return frozenset() if wanted is None else wanted.commands

    async def on_message(self, session: Any, message: Message) -> Verdict | None:
        """Wait for somebody."""
        return await self._interception.wait(session, message)
