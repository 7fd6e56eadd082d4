"""What went out in place of a message, put to what came in.

In a capture of both legs a rewritten message stands on one leg as it came and on the other as it
went on, a little before or behind; if its upstream was not connected yet, long behind. Meanwhile
what happened after it waits, so that the order is kept; not for ever, though.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from lbcproxy.capture.events import Ended, Event, Header, Missing, Passed

__all__ = ["Awaits", "Pairing", "Sent"]

MOST_EVENTS = 10_000
MOST_BYTES = 32 << 20

Key: TypeAlias = tuple[int, object]
"""A session's number, and the number that the file itself gives a message."""


class Awaits(msgspec.Struct, frozen=True, gc=False):
    """The next event is of a message that went out as something else."""

    key: Key


class Sent(msgspec.Struct, frozen=True, gc=False):
    """What went out in place of a message."""

    key: Key
    raw: bytes


class _Slot:
    """An event that waits, itself or for one before it."""

    __slots__ = ("event", "key", "size")

    def __init__(self, event: Event, key: Key | None) -> None:
        self.event = event
        self.key = key
        self.size = _size(event)


class Pairing:
    """Takes events as a file has them and gives them complete, in order."""

    def __init__(self) -> None:
        self._slots: deque[_Slot] = deque()
        self._waiting: dict[Key, _Slot] = {}
        self._size = 0
        self._early: dict[Key, bytes] = {}
        self._early_size = 0
        self._next: Key | None = None

    def feed(self, event: Event | Awaits | Sent) -> Iterator[Event]:
        """Take the next and give those that are complete."""
        if isinstance(event, Awaits):
            self._next = event.key
            return
        if isinstance(event, Sent):
            self._sent(event)
            yield from self._ready()
            return
        key, self._next = self._next, None
        if key in self._early:
            raw = self._early.pop(key)
            self._early_size -= len(raw)
            event, key = _went_out_as(event, raw), None
        if isinstance(event, Ended | Header):
            self._nothing_went_out(event)
        if not self._slots and key is None:
            yield event
            return
        slot = _Slot(event, key)
        self._slots.append(slot)
        self._size += slot.size
        if key is not None:
            self._waiting[key] = slot
        yield from self._ready()
        if len(self._slots) > MOST_EVENTS or self._size > MOST_BYTES:
            yield from self._let_by()

    def finish(self) -> Iterator[Event]:
        """Give what is left: nothing went out for it."""
        self._nothing_went_out(None)
        yield from self._ready()

    def _sent(self, sent: Sent) -> None:
        slot = self._waiting.pop(sent.key, None)
        if slot is not None:
            slot.event, slot.key = _went_out_as(slot.event, sent.raw), None
            return
        self._early[sent.key] = sent.raw
        self._early_size += len(sent.raw)
        while len(self._early) > MOST_EVENTS or self._early_size > MOST_BYTES:
            oldest = next(iter(self._early))
            self._early_size -= len(self._early.pop(oldest))

    def _nothing_went_out(self, over: Ended | Header | None) -> None:
        """Let nobody wait of a session that is over, or of all."""
        number = over.facts.number if isinstance(over, Ended) else None
        for key in [key for key in self._waiting if number in (None, key[0])]:
            self._sent(Sent(key, b""))
        for key in [key for key in self._early if number in (None, key[0])]:
            self._early_size -= len(self._early.pop(key))

    def _ready(self) -> Iterator[Event]:
        while self._slots and self._slots[0].key is None:
            slot = self._slots.popleft()
            self._size -= slot.size
            yield slot.event

    def _let_by(self) -> Iterator[Event]:
        """Let other sessions go before one that waits; if that one alone has too much, go on."""
        held: set[int] = set()
        slots, self._slots = self._slots, deque()
        for slot in slots:
            number = _session(slot.event)
            if slot.key is not None:
                held.add(number)
            if number in held:
                self._slots.append(slot)
            else:
                self._size -= slot.size
                yield slot.event
        if len(self._slots) > MOST_EVENTS // 2 or self._size > MOST_BYTES // 2:
            self._nothing_went_out(None)
            yield from self._ready()


def _session(event: Event) -> int:
    return 0 if isinstance(event, Header | Missing) else event.facts.number


def _size(event: Event) -> int:
    return sum(len(each.raw) for each in event.deliveries) if isinstance(event, Passed) else 0


def _went_out_as(event: Event, raw: bytes) -> Event:
    assert isinstance(event, Passed)
    [delivery] = event.deliveries
    whole = msgspec.structs.replace(delivery, sent=raw)
    return msgspec.structs.replace(event, deliveries=(whole,))
