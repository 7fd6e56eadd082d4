"""What the verdicts of all plugins make of one message."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from lbcproxy.plugins.injections import MAX_MESSAGES
from lbcproxy.plugins.verdicts import (
    Close,
    Delay,
    Drop,
    Inject,
    Raw,
    Replace,
    Sendable,
    Verdict,
)
from lbcproxy.session.direction import Direction
from lbcproxy.session.end import End, EndCause
from lbcproxy.session.entry import Delivery, Entry
from lbcproxy.session.message import Message
from lbcproxy.session.verdict import EntryVerdict

__all__ = ["Outcome"]

Make = Callable[[Sendable, Direction], Message | Raw]
Check = Callable[[Direction, int, int], None]


class Outcome:
    """A message on its way through the plugins; `make` frames what they put in its place.

    `check` raises OverflowError if so many bytes and messages are too many to be put into a
    direction. Raises, from `apply`, that and `wire.BadRecord` for what cannot be framed.
    """

    def __init__(self, message: Message, make: Make, check: Check) -> None:
        self.message = message
        self.messages: list[Message | Raw] = [message]
        """What goes on in its place."""
        self.before: list[Message | Raw] = []
        self.behind: list[Message | Raw] = []
        self.across: list[Message | Raw] = []
        """What is injected into the other direction."""
        self.delay = 0.0
        self.close: End | None = None
        self.trail: list[str] = []
        self._make = make
        self._check = check

    def apply(self, who: str, verdicts: Sequence[Verdict], message: Message) -> None:
        """Do what a plugin has decided about one of the messages: all of it, or nothing."""
        before = {
            name: list(value) if isinstance(value, list) else value
            for name, value in vars(self).items()
        }
        try:
            _check_count(verdicts)  # before anything is made of them
            for verdict in verdicts:
                self._apply(who, verdict, message)
            self._check_added()
        except BaseException:
            vars(self).update(before)
            raise

    def _apply(self, who: str, verdict: Verdict, message: Message) -> None:
        direction = self.message.direction
        if isinstance(verdict, Drop):
            self._put([], message)
            self._say(who, "drop", verdict)
        elif isinstance(verdict, Replace):
            new = [self._make(each, direction) for each in verdict.messages]
            self._put(new, message)
            self._say(who, f"rewrite {_sizes([message])} -> {_sizes(new)}", verdict)
        elif isinstance(verdict, Delay):
            self.delay += verdict.seconds
            self._say(who, f"delay {verdict.seconds:g} s", verdict)
        elif isinstance(verdict, Inject):
            into = verdict.direction or direction
            new = [self._make(each, into) for each in verdict.messages]
            where = self.before if verdict.before else self.behind
            (where if into is direction else self.across).extend(new)
            self._say(who, f"inject {_sizes(new)} {into.arrow}", verdict)
        elif isinstance(verdict, Close):
            self.close = End(EndCause.PLUGIN, detail=verdict.why, name=who)
            self._say(who, "close", verdict)

    @property
    def verdict(self) -> EntryVerdict:
        """What happened to the message."""
        if not self.messages:
            return EntryVerdict.DROP
        if self.messages != [self.message]:
            return EntryVerdict.REWRITE
        return EntryVerdict.DELAY if self.delay else EntryVerdict.PASS

    def deliveries(
        self, entry: Entry, inject: Callable[[Message | Raw, str], Delivery]
    ) -> list[Delivery]:
        """Say what passes: the message's own delivery, and those of what is put around it."""
        trail = tuple(self.trail)
        changed = self.messages != [self.message]
        sent = b"".join(each.raw for each in self.messages) if changed else None
        decided = msgspec.structs.replace(entry, verdict=self.verdict, trail=trail)
        words = "; ".join(trail)
        return [
            *(inject(each, words) for each in self.before),
            Delivery(self.message.raw, (decided,), sent),
            *(inject(each, words) for each in self.behind),
        ]

    @property
    def added(self) -> int:
        """How many messages plugins put into its own direction."""
        return len(self.before) + len(self.behind) + max(0, len(self.messages) - 1)

    @property
    def added_size(self) -> int:
        """Their bytes, with those by which the message itself has grown."""
        grown = _bytes(self.messages) - len(self.message.raw)
        return _bytes(self.before) + _bytes(self.behind) + max(0, grown)

    def _check_added(self) -> None:
        direction = self.message.direction
        if self.added or self.added_size:
            self._check(direction, self.added_size, self.added)
        if self.across:
            self._check(direction.other, _bytes(self.across), len(self.across))

    def fail(self, who: str, why: str) -> None:
        """Drop what is left: a plugin failed that nothing may pass without."""
        self.messages = []
        self.trail.append(f"{who}: drop: {why}")

    def _put(self, new: list[Message | Raw], message: Message) -> None:
        for place, each in enumerate(self.messages):
            if each is message:
                self.messages[place : place + 1] = new
                return
        raise ValueError("two verdicts that exclude each other")

    def _say(self, who: str, what: str, verdict: Verdict) -> None:
        self.trail.append(f"{who}: {what}" + (f": {verdict.why}" if verdict.why else ""))


def _bytes(messages: Sequence[Message | Raw]) -> int:
    return sum(len(each.raw) for each in messages)


def _sizes(messages: list[Message] | list[Message | Raw]) -> str:
    return ", ".join(
        f"{each.command} {each.length} B" if isinstance(each, Message) else f"{len(each.raw)} raw B"
        for each in messages
    )


def _check_count(verdicts: Sequence[Verdict]) -> None:
    """Raise OverflowError if verdicts put in more messages than could ever wait."""
    count = sum(len(each.messages) for each in verdicts if isinstance(each, Inject | Replace))
    if max(count, len(verdicts)) > MAX_MESSAGES:
        raise OverflowError(f"more is injected than is read: {MAX_MESSAGES:,} messages wait")
