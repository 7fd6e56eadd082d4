"""The statistics of an interface in a pcapng file: how many packets it lacks."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from lbcproxy.capture.packet import Statistics

__all__ = ["OPTION_DROPPED", "statistics"]

OPTION_DROPPED = 5
"""`isb_ifdrop`."""
_COUNTS = {
    4: "received",
    OPTION_DROPPED: "dropped",
    6: "accepted",
    7: "dropped_by_system",
    8: "delivered",
}


def statistics(
    time_ns: int,
    interface: int,
    options: Iterable[tuple[int, bytes]],
    custom: Sequence[str],
    order: str,
    offset: int,
) -> Statistics:
    """Return what the options of a block say, in a byte order; of others nothing is said."""
    counts = {
        _COUNTS[code]: struct.unpack(order + "Q", value)[0]
        for code, value in options
        if code in _COUNTS and len(value) == 8
    }
    return Statistics(
        time_ns=time_ns, offset=offset, interface=interface, custom=tuple(custom), **counts
    )
