"""What holds for everything that a reader of connections tells, whatever a tap has lost."""

from __future__ import annotations

from typing import NamedTuple

from lbcproxy.capture.packet import SYN
from lbcproxy.capture.tcp.stream_events import Closed, Data, Gap, Opened, StreamEvent
from tests.capture.tcp_facts import MOST_WAIT_NS
from tests.capture.tcp_network import Line, Passed

UNIQUE = 8
"""So many random bytes stand in one place only."""


class Found(NamedTuple):
    """A connection as the reader tells of it."""

    opened: Opened
    events: list[StreamEvent]


class Verdict(Exception):
    """The reader is wrong, and in what."""


def by_connection(events: list[StreamEvent]) -> dict[int, Found]:
    """Return the events of each connection."""
    found: dict[int, Found] = {}
    for event in events:
        if not isinstance(event, Opened):
            found[event.connection].events.append(event)
        elif event.connection in found:
            raise Verdict(f"opened twice: {event}")
        else:
            found[event.connection] = Found(event, [])
    return found


def orderly(found: dict[int, Found]) -> None:
    """Nothing follows an end."""
    for each in found.values():
        over = {True: False, False: False}
        for event in each.events:
            if isinstance(event, Data | Gap):
                if over[event.from_client]:
                    raise Verdict(f"after an end: {event}")
                if isinstance(event, Data) and not event.data:
                    raise Verdict(f"empty: {event}")
            elif isinstance(event, Closed):
                if all(over.values()) or (over[event.from_client] and not event.reset):
                    raise Verdict(f"after an end: {event}")
                over[event.from_client] = True
                if event.reset:
                    over = {True: True, False: True}


def truthful(line: Line, recorded: list[Passed], found: list[Found]) -> None:
    """Whatever is given was sent, and is given once: all that can be asked if SYNs are lost.

    A connection whose SYN was recorded again long after may be told again.
    """
    if any(each.mixed for each in line.connections):
        return
    strays = {each.segment.payload for each in line.passed if each.of is None}
    for side in (0, 1):
        sent = b"".join(bytes(each.sent[side]) for each in line.connections)
        given = bytearray(len(sent))
        for each in found:
            for event in each.events:
                if isinstance(event, Data) and event.from_client is (side == 0):
                    if any(event.data in each for each in strays):
                        continue  # without the SYNs nobody knows
                    at, size = sent.find(event.data), len(event.data)
                    if at < 0:
                        raise Verdict(f"invented: {event}")
                    if size < UNIQUE:
                        continue
                    if any(given[at : at + size]) and not _may_be_again(line, recorded, event):
                        raise Verdict(f"given twice: {event}")
                    given[at : at + size] = b"\1" * size


def _may_be_again(line: Line, recorded: list[Passed], event: Data) -> bool:
    """Whether bytes are of a connection whose SYN was recorded long after its first segment."""
    first_ns: dict[int, int] = {}
    for each in line.passed:
        if each.of is not None:
            first_ns.setdefault(id(each.of), each.time_ns)
    return any(
        each.of is not None
        and each.segment.flags & SYN
        and each.time_ns - first_ns[id(each.of)] >= MOST_WAIT_NS
        and event.data in each.of.sent[0 if event.from_client else 1]
        for each in recorded
    )
