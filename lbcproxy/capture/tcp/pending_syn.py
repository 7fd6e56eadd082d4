"""A SYN in an open connection (RFC 5961, 4): a stray, or the start of the next connection."""

from __future__ import annotations

from lbcproxy.capture.packet import ACK, RST, SYN, Segment
from lbcproxy.capture.tcp.detached import WRAP
from lbcproxy.capture.tcp.receiver import NO_SCALE
from lbcproxy.endpoint import Endpoint

__all__ = ["FIRST_WINDOW", "PendingSyn", "scale_of"]

FIRST_WINDOW = 65_536
"""The largest window before any scaling applies."""


def scale_of(segment: Segment) -> int:
    """Return the window scale in a SYN; `NO_SCALE` if it has none."""
    return NO_SCALE if segment.window_scale is None else segment.window_scale


class PendingSyn:
    """Such a SYN, until a later segment shows which of the two it is."""

    __slots__ = ("client", "client_syn", "is_attempt", "server", "server_syn", "syns", "time_ns")

    def __init__(self, client: Endpoint, server: Endpoint, client_syn: int, time_ns: int) -> None:
        self.client = client
        self.server = server
        self.client_syn = client_syn
        self.server_syn: int | None = None
        self.is_attempt = False
        """Whether it cannot be a stray because no connection was open."""
        self.syns: dict[Endpoint, tuple[int, int]] = {}
        """Window and window scale of each SYN that was seen, by sender."""
        self.time_ns = time_ns

    @property
    def is_answered(self) -> bool:
        """Whether both the SYN and its answer were captured."""
        return len(self.syns) == 2

    def record(self, syn: Segment) -> None:
        """Record what a SYN says about its sender."""
        self.syns[syn.source] = (syn.window, scale_of(syn))

    def refuses(self, segment: Segment) -> bool:
        """Return whether the client resets this SYN, which it has not sent."""
        return segment.source == self.client and bool(segment.flags & RST)

    def is_answered_by(self, segment: Segment) -> bool:
        """Return whether the server acknowledges this very SYN."""
        number = (self.client_syn + 1) % WRAP
        return bool(segment.flags & ACK) and segment.acknowledgment == number

    def is_accepted_by(self, segment: Segment) -> bool:
        """Return whether a segment is the SYN-ACK for this SYN."""
        is_syn_ack = segment.source == self.server and bool(segment.flags & SYN)
        return is_syn_ack and self.is_answered_by(segment)

    def is_refused_by(self, segment: Segment) -> bool:
        """Return whether the server refuses this SYN."""
        return bool(segment.flags & RST) and self.is_answered_by(segment)

    def accepts(self, segment: Segment) -> bool:
        """Return whether a segment may be the next one of the connection that this SYN starts."""
        acknowledgment = segment.acknowledgment if segment.flags & ACK else None
        if segment.source == self.client:
            if segment.flags & RST and segment.sequence != (self.client_syn + 1) % WRAP:
                return False
            return _is_soon_after(self.client_syn, segment.sequence) and _is_soon_after(
                self.server_syn, acknowledgment
            )
        if self.server_syn is None:  # until it answers, the server acknowledges only the SYN
            return self.is_answered_by(segment)
        if segment.flags & RST and acknowledgment is None:
            return self.is_answered and _is_soon_after(self.server_syn, segment.sequence)
        return (
            acknowledgment is not None
            and _is_soon_after(self.client_syn, acknowledgment)
            and _is_soon_after(self.server_syn, segment.sequence)
        )


def _is_soon_after(syn: int | None, number: int | None) -> bool:
    """Return whether a number is shortly after a SYN; also true if one of them is not known."""
    return syn is None or number is None or (number - syn - 1) % WRAP < FIRST_WINDOW
