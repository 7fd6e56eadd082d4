"""Checks that nothing is dropped uncounted.

Every byte of payload that was captured is one of these:

- It was given out: `Data`.
- It repeats bytes that were given out: a duplicate.
- It was dropped, and counted with a reason: `Dropped`.

So captured = given + duplicates + dropped. Duplicates are not counted by the reader, but both sides
of the equation bound them: given + dropped cannot be more than what was captured, and the segments
that are not found in what was given cannot be more than what was dropped. The payload of a reset is
not part of a stream (RFC 9293, 3.5.3).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from lbcproxy.capture.dropped import Dropped
from lbcproxy.capture.packet import RST, Segment
from lbcproxy.capture.tcp.stream_events import Data, Gap, Opened, StreamEvent
from tests.capture.tcp_found import UNIQUE, Verdict

Direction = tuple[object, object]


def all_counted(segments: Iterable[Segment], events: list[StreamEvent], dropped: Dropped) -> None:
    """Raise Verdict unless all bytes were given out, were duplicates, or were counted."""
    payloads = [each for each in segments if each.payload and not each.flags & RST]
    streams = _given(events)
    captured = sum(len(each.payload) for each in payloads)
    given = sum(len(each.data) for each in events if isinstance(each, Data))
    counted = sum(each["bytes"] for each in dropped.to_list())
    if given + counted > captured:
        raise Verdict(f"{captured} bytes captured, but {given} given and {counted} counted")
    missing = [
        (str(each.source), each.sequence, size)
        for each in payloads
        if (size := _not_given(each.payload, streams[each.source, each.target]))
    ]
    lost = sum(size for _, _, size in missing)
    if lost > counted:
        raise Verdict(f"{lost} bytes were not given, but {counted} were counted: {missing}")


def _not_given(payload: bytes, runs: list[bytes]) -> int:
    """Return how many bytes of a segment were not given, at least."""
    if len(payload) == 1 or any(payload in run for run in runs):
        return 0  # one byte of any value may be a keep-alive
    if len(payload) < UNIQUE:
        return 1
    given = bytearray(len(payload))
    for at in range(len(payload) - UNIQUE + 1):
        part = payload[at : at + UNIQUE]
        if any(part in run for run in runs):
            given[at : at + UNIQUE] = b"\1" * UNIQUE
    # Of each stretch that was not found, short pieces at both ends may have been given.
    stretches = filter(None, bytes(given).split(b"\1"))
    return sum(max(len(each) - 2 * (UNIQUE - 1), 1) for each in stretches)


def _given(events: list[StreamEvent]) -> dict[Direction, list[bytes]]:
    """Return what was given by direction, in runs without gaps."""
    ends: dict[int, Direction] = {}
    runs: dict[tuple[int, bool], list[bytearray]] = defaultdict(lambda: [bytearray()])
    for event in events:
        if isinstance(event, Opened):
            ends[event.connection] = event.client, event.server
        elif isinstance(event, Data):
            runs[event.connection, event.from_client][-1] += event.data
        elif isinstance(event, Gap):
            runs[event.connection, event.from_client].append(bytearray())
    found: dict[Direction, list[bytes]] = defaultdict(list)
    for (number, from_client), each in runs.items():
        direction = ends[number] if from_client else ends[number][::-1]
        found[direction] += map(bytes, each)
    return found
