"""Find sound frames that stand one behind another, as quickly as can be.

Almost all that passes is such frames. What is not is left to the framer, which says what it is.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import TypeAlias

from lbcproxy.wire.codec import Codec
from lbcproxy.wire.envelope import HEADER_SIZE
from lbcproxy.wire.registry import commands, record_of
from lbcproxy.wire.rules import Chain, bound

__all__ = ["SCANS", "Known", "Scan", "known_commands", "scan"]

_HEADER = struct.Struct("<4s12sI4s")

Known: TypeAlias = Mapping[bytes, tuple[str, int]]
"""By the twelve bytes in the header: a command and the longest payload it may have."""
Scan: TypeAlias = Callable[[bytes | bytearray, bytes, Known], tuple[list[str], list[int]]]


def by_python(data: bytes | bytearray, magic: bytes, known: Known) -> tuple[list[str], list[int]]:
    """Give the commands of the sound frames that data begins with, and where each ends."""
    names: list[str] = []
    ends: list[int] = []
    place, size = 0, len(data)
    while size - place >= HEADER_SIZE:
        begins, raw_command, length, claimed = _HEADER.unpack_from(data, place)
        name, most = known.get(raw_command, ("", -1))
        end = place + HEADER_SIZE + length
        if begins != magic or length > most or end > size:
            break
        payload = data[place + HEADER_SIZE : end]
        if sha256(sha256(payload).digest()).digest()[:4] != claimed:
            break
        names.append(name)
        ends.append(end)
        place = end
    return names, ends


def _scans() -> dict[str, Scan]:
    try:
        from lbcproxy.wire._scan import by_native
    except ImportError:
        return {"python": by_python}
    return {"native": by_native, "python": by_python}


SCANS = _scans()
"""Every way to do it on this machine; the first is used."""
scan: Scan = next(iter(SCANS.values()))


@functools.cache
def known_commands(network: Chain, stream_above: int | None, apart: frozenset[str]) -> Known:
    """Give the commands that have a record and are not to be had apart."""
    codec = Codec(network)
    known = {}
    for name in commands():
        record = record_of(name)
        assert record is not None
        if name in apart or codec.refusal(name, 0) is not None:
            continue
        most = bound(record.maximum, codec.params)
        if stream_above is not None:
            most = min(most, stream_above)
        known[name.encode("latin-1").ljust(12, b"\0")] = (name, most)
    return known
