"""The values that pass between capture files, TCP and whoever reads or writes captures.

Nothing here computes: a `Packet` is what a file holds, a `Segment` is what TCP makes of it.
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
    """One captured packet, as it stands in a file.

    `offset` is where its record begins in the file, `custom` holds the texts that lbcproxy
    itself left on the packet, `comments` those for people. `dropped` is how many packets of its
    interface the file lacks just before it, and `interface` the number of that in its section.
    """

    time_ns: int
    link_type: int
    data: bytes
    offset: int
    comments: tuple[str, ...] = ()
    custom: tuple[str, ...] = ()
    dropped: int = 0
    interface: int = 0


class Section(msgspec.Struct, frozen=True, gc=False):
    """The beginning of a section of a file, with what its writer says of all that follows.

    A recording that was appended to has several; connections do not live on across them.
    """

    custom: tuple[str, ...]
    comments: tuple[str, ...]
    offset: int


class Statistics(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a file says of how much it holds and lacks; counts are of packets, None if not said.

    Others count from the beginning of their capture. A writer of ours says in `custom` what is
    missing just there.
    """

    time_ns: int
    offset: int
    interface: int = 0
    received: int | None = None
    """What came in."""
    dropped: int | None = None
    """What the interface dropped."""
    accepted: int | None = None
    """What a filter let through."""
    dropped_by_system: int | None = None
    delivered: int | None = None
    """What was given to who wrote the file."""
    custom: tuple[str, ...] = ()


class Segment(msgspec.Struct, frozen=True, gc=False):
    """One TCP segment, with the addresses of the IP packet around it.

    `window` is the number in the header, in units of `2 ** window_scale` of the same side's SYN;
    `window_scale` is None except on a SYN that has the option (RFC 7323).
    """

    source: Endpoint
    target: Endpoint
    sequence: int
    acknowledgment: int
    flags: int
    payload: bytes
    window: int = 0xFFFF
    window_scale: int | None = None
