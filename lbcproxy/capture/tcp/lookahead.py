"""Reorders packets so that the start of each connection comes first.

Captures of several network cards or queues have packets slightly out of order. Once a stream has
started, the reassembler handles that. But only a SYN tells where a stream starts. So a packet of an
unknown connection waits briefly, together with all packets after it, until the next packets have
been searched. The SYNs of its connection are moved before it; if there are none, the earliest bytes
of each direction are.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from lbcproxy.capture.packet import ACK, FIN, RST, SYN, Packet, Segment

__all__ = ["Lookahead"]

MAX_PACKETS = 256
MAX_WAIT_NS = 1_000_000_000
WRAP = 1 << 32
MAX_DISORDER = 16 * 2**20
"""Bytes further apart than this are not out of order but from another connection."""
MAX_BEFORE_SYN = 2**20
"""Bytes that may be captured before their SYN."""

Captured = tuple[Packet, Segment]


class Lookahead:
    """A window of packets; `known` returns whether the connection of a segment is known."""

    def __init__(self, known: Callable[[Segment], bool]) -> None:
        self._known = known
        self._window: deque[Captured] = deque()

    def feed(self, packet: Packet, segment: Segment) -> Iterable[Captured]:
        """Accept the next packet and return those that need not wait any longer.

        The caller must process each of them before it asks for the next one.
        """
        if not self._window and self._has_begun(segment):
            return ((packet, segment),)
        return self._wait(packet, segment)

    def finish(self) -> Iterator[Captured]:
        """Return all packets that are left."""
        while self._window:
            yield from self._next()

    def _wait(self, packet: Packet, segment: Segment) -> Iterator[Captured]:
        yield from self._due(packet.time_ns)  # these are ordered without this packet
        self._window.append((packet, segment))
        yield from self._due(packet.time_ns)

    def _due(self, time_ns: int) -> Iterator[Captured]:
        window = self._window
        while window:
            first, segment = window[0]
            is_full = len(window) >= MAX_PACKETS or time_ns - first.time_ns > MAX_WAIT_NS
            if not is_full and not self._has_begun(segment):
                return
            yield from self._next()

    def _has_begun(self, segment: Segment) -> bool:
        """Whether a segment need not wait for anything."""
        flags = segment.flags
        if not segment.payload and not flags & (SYN | FIN | RST):
            return True
        return flags & (SYN | ACK) == SYN or self._known(segment)

    def _next(self) -> Iterator[Captured]:
        first = self._window.popleft()
        if not self._has_begun(first[1]):
            for each in _beginning(first, self._of_the_same(first)):
                self._window.remove(each)
                yield each
        yield first

    def _of_the_same(self, first: Captured) -> list[Captured]:
        """Return the later packets of a connection, until the ports may belong to another one."""
        ends = {first[1].source, first[1].target}
        found: list[Captured] = []
        syn_acks: list[Captured] = []
        opening: int | None = None
        is_reset = False
        for each in self._window:
            segment = each[1]
            if segment.source not in ends or segment.target not in ends:
                continue
            is_same_side = segment.source == first[1].source or first[1].flags & RST
            if segment.payload and is_same_side and self._known(segment):
                break  # a known connection continues
            if _opens(segment):
                if not _begins(segment, first[1]) or opening not in (None, segment.sequence):
                    break
                opening = segment.sequence
            elif segment.flags & SYN and not _begins(segment, first[1]):
                syn_acks.append(each)
                continue
            # After a reset, only SYNs that were before it on the wire belong to the connection.
            if not is_reset or segment.flags & SYN:
                found.append(each)
            is_reset = is_reset or bool(segment.flags & RST)
        if first[1].flags & RST:
            return found
        # The sequence numbers of the first may be forged, but not the answer to the SYN.
        return found + [
            each
            for each in syn_acks
            if self._known(each[1]) or (opening is not None and _answers(each[1], opening))
        ]


def _opens(segment: Segment) -> bool:
    return bool(segment.flags & SYN) and not segment.flags & ACK


def _answers(syn_ack: Segment, opening: int) -> bool:
    return syn_ack.acknowledgment == (opening + 1) % WRAP


def _begins(syn: Segment, segment: Segment) -> bool:
    """Whether a SYN belongs to the connection of a segment, by their sequence numbers."""
    if segment.source == syn.source:
        ahead = segment.sequence - syn.sequence - 1
    elif syn.flags & ACK:
        ahead = segment.sequence - syn.acknowledgment
    elif segment.flags & ACK:
        ahead = segment.acknowledgment - syn.sequence - 1
        if segment.flags & SYN:
            return ahead % WRAP == 0
    else:
        return not segment.flags & RST  # without an ACK a reset does not answer a SYN
    return ahead % WRAP < MAX_BEFORE_SYN or ahead == -1


def _beginning(first: Captured, others: list[Captured]) -> list[Captured]:
    """Return those of a connection's other packets that have to come before its first one."""
    source, flags = first[1].source, first[1].flags
    syns = [each for each in others if each[1].flags & SYN]
    syns.sort(key=lambda each: each[1].flags & ACK)
    if flags & SYN:
        return [each for each in syns if _opens(each[1])]
    if any(each[1].source == source for each in syns):
        return syns
    earliest = first
    for each in others:
        segment = each[1]
        if segment.source == source and segment.payload:
            ahead = (earliest[1].sequence - segment.sequence) % WRAP
            if 0 < ahead < MAX_DISORDER:
                earliest = each
    return syns if earliest is first else [*syns, earliest]
