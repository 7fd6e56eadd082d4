"""What a capture lacks by its own account: our loss notes, and drop counters of other programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import msgspec

from lbcproxy.capture.formats.pcapng import SCHEMA
from lbcproxy.capture.packet import Packet, Section, Statistics
from lbcproxy.session import Lost
from lbcproxy.session.events import NotRecorded

__all__ = ["LossTotals", "LossTracker"]

MAX_LISTED = 100
MAX_INTERFACES = 100
MAX_COUNT = 2**62 - 1
"""Larger counts are read as this one: a file may claim any number."""


class LossTotals:
    """What a capture lacks, as far as it has been read."""

    def __init__(self) -> None:
        self.messages = 0
        self.size = 0
        """Bytes of capture that were not written."""
        self.packets = 0
        """Packets that other programs dropped."""
        self.listed: list[tuple[Lost, int]] = []
        """The first losses, each with the time at which the file reports it."""
        self.interfaces: dict[tuple[int, int], Statistics] = {}
        """The last counters of each interface that is not ours, by section and interface number."""

    def __bool__(self) -> bool:
        return bool(self.messages or self.size or self.packets)

    def __str__(self) -> str:
        return Lost(messages=self.messages, size=self.size, packets=self.packets).description

    def each(self) -> Iterator[tuple[Lost, int]]:
        """Return all losses in order; those that are not listed come last, as one."""
        rest = Lost(messages=self.messages, size=self.size, packets=self.packets)
        time_ns = 0
        for lost, time_ns in self.listed:
            yield lost, time_ns
            rest = Lost(
                messages=rest.messages - lost.messages,
                size=rest.size - lost.size,
                packets=rest.packets - lost.packets,
            )
        if rest:
            yield rest, time_ns

    def add(self, lost: Lost, time_ns: int) -> None:
        """Count one loss."""
        self.messages += lost.messages
        self.size += lost.size
        self.packets += lost.packets
        if len(self.listed) < MAX_LISTED:
            self.listed.append((lost, time_ns))


class LossTracker:
    """Turns what a file says that it lacks into events, and counts it in `totals`."""

    def __init__(self, totals: LossTotals) -> None:
        self._totals = totals
        self._section = 0
        self._is_ours = False
        self._counted: dict[int, int] = {}  # dropped packets so far, by interface

    def begin(self, section: Section) -> None:
        """Begin a section: the counters of other programs start at zero again."""
        self._section += 1
        self._is_ours = any(_parse_note(text) is not None for text in section.custom)
        self._counted.clear()

    def in_packet(self, packet: Packet) -> Iterator[NotRecorded]:
        """Return what is missing just before a packet."""
        if packet.dropped:
            counted = self._counted.get(packet.interface, 0)
            self._counted[packet.interface] = counted + packet.dropped
            yield self._missing(Lost(packets=min(packet.dropped, MAX_COUNT)), packet.time_ns)

    def in_statistics(self, statistics: Statistics) -> Iterator[NotRecorded]:
        """Return what has been lost since the file last reported its counters."""
        lost = _lost_in(statistics.custom)
        if lost is None and self._is_ours:
            # Earlier versions left no note.
            lost = Lost(messages=min(statistics.dropped or 0, MAX_COUNT))
        elif lost is None:
            key = self._section, statistics.interface
            if key in self._totals.interfaces or len(self._totals.interfaces) < MAX_INTERFACES:
                self._totals.interfaces[key] = statistics
            dropped = (statistics.dropped or 0) + (statistics.dropped_by_system or 0)
            before = self._counted.get(statistics.interface, 0)
            lost = Lost(packets=min(max(0, dropped - before), MAX_COUNT))
            self._counted[statistics.interface] = max(before, dropped)
        if lost:
            yield self._missing(lost, statistics.time_ns)

    def _missing(self, lost: Lost, time_ns: int) -> NotRecorded:
        self._totals.add(lost, time_ns)
        return NotRecorded(None, lost, time_ns)


class _LossNote(msgspec.Struct):
    """A note that lbcproxy wrote, as far as it is about losses."""

    schema: str
    lost: Lost | None = None


def _parse_note(text: str) -> _LossNote | None:
    with suppress(msgspec.DecodeError, RecursionError):
        note = msgspec.json.decode(text, type=_LossNote)
        return note if note.schema == SCHEMA else None
    return None


def _lost_in(texts: Sequence[str]) -> Lost | None:
    return next((note.lost for text in texts if (note := _parse_note(text)) and note.lost), None)
