"""The values that capture files, TCP and the readers and writers of captures exchange.

A `Packet` is what a file holds, a `Segment` is the TCP segment in it. These are plain values
without behaviour.
"""

from enum import StrEnum

import msgspec

from lbcproxy.endpoint import Endpoint

__all__ = [
    *("ACK", "FIN", "PSH", "RST", "SYN"),
    *("Leg", "Packet", "Section", "Segment", "Statistics"),
]

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10


class Leg(StrEnum):
    """One of the two TCP connections of a session."""

    CLIENT = "client"
    UPSTREAM = "upstream"


class Packet(msgspec.Struct, frozen=True, gc=False):
    """One captured packet."""

    time_ns: int
    """Nanoseconds since 1970; 0 if the packet has no time."""
    link_type: int
    data: bytes
    offset: int
    """Where its record begins in the file, in bytes."""
    comments: tuple[str, ...] = ()
    """Comments for people."""
    custom: tuple[str, ...] = ()
    """Custom options for programs, each a text."""
    dropped: int = 0
    """How many packets of its interface are missing from the file just before it."""
    interface: int = 0
    """The number of its interface in the section."""


class Section(msgspec.Struct, frozen=True, gc=False):
    """The header of a section, with what its writer says about everything that follows.

    A recording that was appended to has several. Connections do not continue across sections.
    """

    custom: tuple[str, ...]
    comments: tuple[str, ...]
    offset: int


class Statistics(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Interface statistics of a file, in packets; None if the file does not give a count.

    The counts of other programs are totals since the start of their capture. Our own captures say
    in `custom` what is missing at this point.
    """

    time_ns: int
    offset: int
    interface: int = 0
    received: int | None = None
    """Packets that the interface received."""
    dropped: int | None = None
    """Packets that the interface dropped."""
    accepted: int | None = None
    """Packets that the capture filter accepted."""
    dropped_by_system: int | None = None
    delivered: int | None = None
    """Packets that were delivered to the program that wrote the file."""
    custom: tuple[str, ...] = ()


class Segment(msgspec.Struct, frozen=True, gc=False):
    """One TCP segment, with the addresses of the IP packet that carries it."""

    source: Endpoint
    target: Endpoint
    sequence: int
    acknowledgment: int
    flags: int
    payload: bytes
    window: int = 0xFFFF
    """As in the header, in units of `2 ** window_scale` of the same side's SYN."""
    window_scale: int | None = None
    """Only on a SYN that has the option (RFC 7323)."""
