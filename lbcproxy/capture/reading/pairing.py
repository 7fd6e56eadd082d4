"""Pairs a rewritten message with what was sent in its place.

In a capture of both legs, a rewritten message is on one leg as it was received and on the other as
it was sent. The two are close together, in either order; if the upstream was not connected yet,
the second comes much later. Until then the events after the message wait, so that the order is
kept. The wait is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from lbcproxy.capture.events import CaptureSessionEnded, Event, SectionHeader
from lbcproxy.session.events import Delivered

__all__ = ["Pairing", "RewritePending", "RewriteSent"]

MAX_EVENTS = 10_000
MAX_BYTES = 32 << 20

Key: TypeAlias = tuple[int, object]
"""A session's number, and the number that the file itself gives a message."""


class RewritePending(msgspec.Struct, frozen=True, gc=False):
    """The next event is a message that was sent as something else."""

    key: Key


class RewriteSent(msgspec.Struct, frozen=True, gc=False):
    """What was sent in place of a message."""

    key: Key
    raw: bytes


class _Slot:
    """An event that waits, for what was sent in its place or for an event before it."""

    __slots__ = ("event", "key", "size")

    def __init__(self, event: Event, key: Key | None) -> None:
        self.event = event
        self.key = key
        self.size = _size(event)


class Pairing:
    """Completes the events of a file and passes them on in order."""

    def __init__(self) -> None:
        self._slots: deque[_Slot] = deque()
        self._pending: dict[Key, _Slot] = {}
        self._size = 0
        self._early: dict[Key, bytes] = {}  # sent before the message was received
        self._early_size = 0
        self._next: Key | None = None

    def feed(self, event: Event | RewritePending | RewriteSent) -> Iterator[Event]:
        """Accept the next event and return those that are complete."""
        if isinstance(event, RewritePending):
            self._next = event.key
            return
        if isinstance(event, RewriteSent):
            self._sent(event)
            yield from self._ready()
            return
        key, self._next = self._next, None
        if key in self._early:
            raw = self._early.pop(key)
            self._early_size -= len(raw)
            event, key = _with_sent(event, raw), None
        if isinstance(event, CaptureSessionEnded | SectionHeader):
            self._stop_waiting(event)
        if not self._slots and key is None:
            yield event
            return
        slot = _Slot(event, key)
        self._slots.append(slot)
        self._size += slot.size
        if key is not None:
            self._pending[key] = slot
        yield from self._ready()
        if len(self._slots) > MAX_EVENTS or self._size > MAX_BYTES:
            yield from self._release_others()

    def finish(self) -> Iterator[Event]:
        """Return the remaining events: nothing was sent in place of those that wait."""
        self._stop_waiting(None)
        yield from self._ready()

    def _sent(self, sent: RewriteSent) -> None:
        slot = self._pending.pop(sent.key, None)
        if slot is not None:
            slot.event, slot.key = _with_sent(slot.event, sent.raw), None
            return
        self._early[sent.key] = sent.raw
        self._early_size += len(sent.raw)
        while len(self._early) > MAX_EVENTS or self._early_size > MAX_BYTES:
            oldest = next(iter(self._early))
            self._early_size -= len(self._early.pop(oldest))

    def _stop_waiting(self, over: CaptureSessionEnded | SectionHeader | None) -> None:
        """Stop waiting in a session that has ended, otherwise in all sessions."""
        number = over.info.number if isinstance(over, CaptureSessionEnded) else None
        for key in [key for key in self._pending if number in (None, key[0])]:
            self._sent(RewriteSent(key, b""))
        for key in [key for key in self._early if number in (None, key[0])]:
            self._early_size -= len(self._early.pop(key))

    def _ready(self) -> Iterator[Event]:
        while self._slots and self._slots[0].key is None:
            slot = self._slots.popleft()
            self._size -= slot.size
            yield slot.event

    def _release_others(self) -> Iterator[Event]:
        """Let other sessions pass one that waits; if that one alone is too large, stop waiting."""
        blocked: set[int] = set()
        slots, self._slots = self._slots, deque()
        for slot in slots:
            number = _session_number(slot.event)
            if slot.key is not None:
                blocked.add(number)
            if number in blocked:
                self._slots.append(slot)
            else:
                self._size -= slot.size
                yield slot.event
        if len(self._slots) > MAX_EVENTS // 2 or self._size > MAX_BYTES // 2:
            self._stop_waiting(None)
            yield from self._ready()


def _session_number(event: Event) -> int:
    return 0 if isinstance(event, SectionHeader) or event.info is None else event.info.number


def _size(event: Event) -> int:
    return sum(len(each.raw) for each in event.deliveries) if isinstance(event, Delivered) else 0


def _with_sent(event: Event, raw: bytes) -> Event:
    assert isinstance(event, Delivered)
    [delivery] = event.deliveries
    complete = msgspec.structs.replace(delivery, sent=raw)
    return msgspec.structs.replace(event, deliveries=(complete,))
