"""What a capture says that it lacks: notes of ours, and the drop counts of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import msgspec

from lbcproxy.capture.events import Missing
from lbcproxy.capture.packet import Packet, Section, Statistics
from lbcproxy.capture.reading.lost import LostTotals
from lbcproxy.capture.recording.notes import SCHEMA
from lbcproxy.session import Lost

__all__ = ["Losses"]

_MAX_INTERFACES = 100
_MOST = 2**62 - 1
"""What any count is taken for at most: a file may claim anything."""


class Losses:
    """Makes events of what a file says that it lacks, and counts them in `totals`."""

    def __init__(self, totals: LostTotals) -> None:
        self._totals = totals
        self._section = 0
        self._ours = False
        self._counted: dict[int, int] = {}

    def begin(self, section: Section) -> None:
        """Begin a section: others count anew."""
        self._section += 1
        self._ours = any(_note(text) is not None for text in section.custom)
        self._counted.clear()

    def in_packet(self, packet: Packet) -> Iterator[Missing]:
        """Return what is missing just before a packet."""
        if packet.dropped:
            counted = self._counted.get(packet.interface, 0)
            self._counted[packet.interface] = counted + packet.dropped
            yield self._missing(Lost(packets=min(packet.dropped, _MOST)), packet.time_ns)

    def in_statistics(self, found: Statistics) -> Iterator[Missing]:
        """Return what has been lost since the last time that the file told."""
        lost = _noted(found.custom)
        if lost is None and self._ours:
            lost = Lost(messages=min(found.dropped or 0, _MOST))  # earlier versions left no note
        elif lost is None:
            key = self._section, found.interface
            if key in self._totals.interfaces or len(self._totals.interfaces) < _MAX_INTERFACES:
                self._totals.interfaces[key] = found
            dropped = (found.dropped or 0) + (found.dropped_by_system or 0)
            before = self._counted.get(found.interface, 0)
            lost = Lost(packets=min(max(0, dropped - before), _MOST))
            self._counted[found.interface] = max(before, dropped)
        if lost:
            yield self._missing(lost, found.time_ns)

    def _missing(self, lost: Lost, time_ns: int) -> Missing:
        self._totals.add(lost, time_ns)
        return Missing(lost, time_ns)


class _Note(msgspec.Struct):
    """What a writer of ours says."""

    schema: str
    lost: Lost | None = None


def _note(text: str) -> _Note | None:
    with suppress(msgspec.DecodeError, RecursionError):
        note = msgspec.json.decode(text, type=_Note)
        return note if note.schema == SCHEMA else None
    return None


def _noted(texts: Sequence[str]) -> Lost | None:
    return next((note.lost for text in texts if (note := _note(text)) and note.lost), None)
