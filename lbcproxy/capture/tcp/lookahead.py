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
from lbcproxy.endpoint import Endpoint

__all__ = ["Lookahead"]

MAX_PACKETS = 256
MAX_WAIT_NS = 1_000_000_000
WRAP = 1 << 32
MAX_DISORDER = 16 * 2**20
"""Bytes further apart than this are not out of order but from another connection."""
MAX_BEFORE_SYN = 2**20
"""Bytes that may be captured before their SYN."""
FIRST_BYTES = 2**16
"""How soon after its SYN some segment of a connection has to come, in bytes."""

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
        """Those that contradict the sequence numbers of the first."""
        opening: int | None = None
        before: int | None = None
        """How many were found before a known connection continued."""
        is_reset = False
        for each in self._window:
            segment = each[1]
            if segment.source not in ends or segment.target not in ends:
                continue
            if self._continues(segment, first[1]):
                before = len(found) if before is None else before
                continue
            if _opens(segment):
                if not _begins(segment, first[1]) or opening not in (None, segment.sequence):
                    break
                opening = segment.sequence
            elif segment.flags & SYN and not _begins(segment, first[1]):
                syn_acks.append(each)
                continue
            elif any(_begins(syn_ack, segment) for _, syn_ack in syn_acks):
                continue
            # After a reset, only SYNs that were before it on the wire belong to the connection.
            if not is_reset or segment.flags & SYN:
                found.append(each)
            is_reset = is_reset or bool(segment.flags & RST)
        return self._choose(first[1], found, before, syn_acks, opening)

    def _choose(
        self,
        first: Segment,
        found: list[Captured],
        before: int | None,
        syn_acks: list[Captured],
        opening: int | None,
    ) -> list[Captured]:
        """Return those that belong to the connection of a segment, by all of their numbers.

        Args:
            first: The segment.
            found: Later packets that fit it.
            before: How many of them came before a known connection continued, if one did.
            syn_acks: SYN-ACKs that contradict it.
            opening: The sequence number of the SYN among those found.
        """
        early = None if before is None else found[:before]
        nearby = [first, *(segment for _, segment in found)]
        found = [each for each in found if _is_first(each[1], nearby)]
        is_answered = any(each[1].flags & (SYN | ACK) == SYN | ACK for each in found)
        if is_answered and first.flags & ACK and first.acknowledgment:
            return found  # the numbers of both sides match
        if not is_answered and first.flags & (RST | ACK) == RST:
            # The number of a reset without ACK shows only the SYN of its own side.
            found = [
                each for each in found if each[1].source == first.source or not each[1].flags & SYN
            ]
        if early is not None:
            found = [each for each in found if each in early]
        if first.flags & RST:
            return found
        answers = [each for each in syn_acks if _answers(each[1], opening)]
        others = [each for _, each in found if not each.flags & SYN]
        if answers and any(_agree(answers[0][1].source, each, first) for each in others):
            # The SYN is a late repetition: it has been answered with another number.
            return [each for each in found if not each[1].flags & SYN]
        # The sequence numbers of the first may be forged, but not the answer to the SYN.
        return found + [each for each in syn_acks if each in answers or self._known(each[1])]

    def _continues(self, segment: Segment, first: Segment) -> bool:
        """Return whether a known connection continues with a segment after the first one."""
        is_news = segment.payload or segment.flags & FIN
        is_same_side = segment.source == first.source or first.flags & RST
        return bool(is_news and is_same_side) and self._known(segment)


def _opens(segment: Segment) -> bool:
    return bool(segment.flags & SYN) and not segment.flags & ACK


def _may_precede(segment: Segment, first: Segment) -> bool:
    """Return whether two segments of one side may be out of order, by their acknowledgments."""
    if not segment.acknowledgment or not first.acknowledgment:  # some tools leave it zero
        return True
    ahead = (segment.acknowledgment - first.acknowledgment + MAX_DISORDER) % WRAP
    return ahead < 2 * MAX_DISORDER


def _answers(segment: Segment, opening: int | None) -> bool:
    if opening is None or segment.flags & (SYN | ACK) != SYN | ACK:
        return False
    return segment.acknowledgment == (opening + 1) % WRAP


def _begins(syn: Segment, segment: Segment) -> bool:
    """Return whether a SYN belongs to the connection of a segment, by their sequence numbers."""
    is_same_side = segment.source == syn.source
    if segment.flags & SYN and segment.flags & ACK and not is_same_side:
        return _answers(segment, syn.sequence)
    distances = []
    if is_same_side:
        distances.append(segment.sequence - syn.sequence - 1)
    elif syn.flags & ACK:
        distances.append(segment.sequence - syn.acknowledgment)
    if segment.flags & ACK and segment.acknowledgment:
        if not is_same_side:
            distances.append(segment.acknowledgment - syn.sequence - 1)
        elif syn.flags & ACK:
            distances.append(segment.acknowledgment - syn.acknowledgment)
    return all((each + 1) % WRAP <= MAX_BEFORE_SYN for each in distances)


def _is_first(segment: Segment, others: list[Segment]) -> bool:
    """Return whether a segment is not a SYN, or one after which a stream continues.

    A late SYN of an earlier connection may have a slightly lower number than those of this one.
    """
    if not segment.flags & SYN or others[0].flags & SYN:
        return True
    starts = [(segment.source, segment.sequence + 1)]
    if segment.flags & ACK:
        starts.append((segment.target, segment.acknowledgment))
    return any(
        (number - start + 1) % WRAP < FIRST_BYTES
        for each in others
        for end, start in starts
        if not each.flags & SYN and (number := _number_of(end, each)) is not None
    )


def _agree(server: Endpoint, one: Segment, other: Segment) -> bool:
    """Return whether two segments are near each other in what the server sends."""
    number, reference = _number_of(server, one), _number_of(server, other)
    if number is None or reference is None:
        return False
    return (number - reference + MAX_BEFORE_SYN) % WRAP < 2 * MAX_BEFORE_SYN


def _number_of(end: Endpoint, segment: Segment) -> int | None:
    """Return where a segment says that the stream of one end is."""
    if segment.source == end:
        return segment.sequence
    return segment.acknowledgment if segment.flags & ACK and segment.acknowledgment else None


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
        if segment.source == source and segment.payload and _may_precede(segment, first[1]):
            ahead = (earliest[1].sequence - segment.sequence) % WRAP
            if 0 < ahead < MAX_DISORDER:
                earliest = each
    return syns if earliest is first else [*syns, earliest]
