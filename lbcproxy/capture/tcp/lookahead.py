"""Packets as captured, but each connection's beginning first.

Captures of several network cards or queues have packets out of order, by little. Where a stream
has begun, the reassembler puts that right. Where one begins is only known from its SYN. So a packet
of a connection that is not known waits a little, and all others after it, until what comes next has
been looked through: the SYNs of its connection go before it. Of a connection without a SYN, the
earliest bytes of each direction do.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from lbcproxy.capture.packet import ACK, FIN, RST, SYN, Packet, Segment

__all__ = ["Lookahead"]

_MOST_PACKETS = 256
_MOST_NS = 1_000_000_000
_WRAP = 1 << 32
_FAR = 16 * 2**20  # bytes that are not out of order, but of another time
_MOST_EARLY = 2**20  # bytes that may be captured before their SYN

Captured = tuple[Packet, Segment]


class Lookahead:
    """A window of packets; `known` tells whether a segment is of a connection met before."""

    def __init__(self, known: Callable[[Segment], bool]) -> None:
        self._known = known
        self._window: deque[Captured] = deque()

    def feed(self, packet: Packet, segment: Segment) -> Iterable[Captured]:
        """Take the next packet and return those whose turn it is.

        Each must have been read before the next one is asked for.
        """
        if not self._window and self._has_begun(segment):
            return ((packet, segment),)
        return self._wait(packet, segment)

    def finish(self) -> Iterator[Captured]:
        """Give all that are left."""
        while self._window:
            yield from self._next()

    def _wait(self, packet: Packet, segment: Segment) -> Iterator[Captured]:
        yield from self._due(packet.time_ns)  # what is due by now does not see this packet
        self._window.append((packet, segment))
        yield from self._due(packet.time_ns)

    def _due(self, time_ns: int) -> Iterator[Captured]:
        window = self._window
        while window:
            first, segment = window[0]
            is_full = len(window) >= _MOST_PACKETS or time_ns - first.time_ns > _MOST_NS
            if not is_full and not self._has_begun(segment):
                return
            yield from self._next()

    def _has_begun(self, segment: Segment) -> bool:
        """Whether nothing can come that a segment must wait for."""
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
        """Return what follows of a connection, up to where its ports may be another's."""
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
                break  # the connection that is known goes on
            if _opens(segment):
                if not _begins(segment, first[1]) or opening not in (None, segment.sequence):
                    break
                opening = segment.sequence
            elif segment.flags & SYN and not _begins(segment, first[1]):
                syn_acks.append(each)
                continue
            # After a reset only its SYNs are of it, which came before on the wire.
            if not is_reset or segment.flags & SYN:
                found.append(each)
            is_reset = is_reset or bool(segment.flags & RST)
        if first[1].flags & RST:
            return found
        # The numbers of the first may be made up, but not what answers the SYN.
        return found + [
            each
            for each in syn_acks
            if self._known(each[1]) or (opening is not None and _answers(each[1], opening))
        ]


def _opens(segment: Segment) -> bool:
    return bool(segment.flags & SYN) and not segment.flags & ACK


def _answers(syn_ack: Segment, opening: int) -> bool:
    return syn_ack.acknowledgment == (opening + 1) % _WRAP


def _begins(syn: Segment, segment: Segment) -> bool:
    """Whether a SYN is of the connection that a segment is of, by their numbers."""
    if segment.source == syn.source:
        ahead = segment.sequence - syn.sequence - 1
    elif syn.flags & ACK:
        ahead = segment.sequence - syn.acknowledgment
    elif segment.flags & ACK:
        ahead = segment.acknowledgment - syn.sequence - 1
        if segment.flags & SYN:
            return ahead % _WRAP == 0
    else:
        return not segment.flags & RST  # nothing tells; only one that acknowledges is an answer
    return ahead % _WRAP < _MOST_EARLY or ahead == -1


def _beginning(first: Captured, others: list[Captured]) -> list[Captured]:
    """Give those of a connection's other packets that its first one must not go before."""
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
            ahead = (earliest[1].sequence - segment.sequence) % _WRAP
            if 0 < ahead < _FAR:
                earliest = each
    return syns if earliest is first else [*syns, earliest]
