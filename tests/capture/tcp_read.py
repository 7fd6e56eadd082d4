"""Reads segments as a capture that another program recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from lbcproxy.capture.dropped import Dropped
from lbcproxy.capture.packet import Packet, Segment
from lbcproxy.capture.tcp.lookahead import Lookahead
from lbcproxy.capture.tcp.reassembler import Reassembler
from lbcproxy.capture.tcp.stream_events import StreamEvent

SERVER_PORT = 29246


def reassembled(captured: Iterable[tuple[int, Segment]]) -> tuple[list[StreamEvent], Dropped]:
    """Return the events of segments, and what was dropped."""
    dropped = Dropped()
    reassembler = Reassembler(server_ports=frozenset({SERVER_PORT}), dropped=dropped)
    lookahead = Lookahead(reassembler.knows)
    events: list[StreamEvent] = []
    for time_ns, segment in captured:
        for packet, each in lookahead.feed(Packet(time_ns, 101, b"", 0), segment):
            events += reassembler.feed(packet.time_ns, each)
    for packet, each in lookahead.finish():
        events += reassembler.feed(packet.time_ns, each)
    events += reassembler.finish()
    return events, dropped


def read(captured: Iterable[tuple[int, Segment]]) -> tuple[list[StreamEvent], Counter[str]]:
    """Return the events of segments, and how many were dropped for each reason."""
    events, dropped = reassembled(captured)
    counts: Counter[str] = Counter()
    for each in dropped.to_list():
        counts[each["reason"]] += each["packets"]
    return events, counts
