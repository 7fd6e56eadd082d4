"""Find consecutive valid frames, as fast as possible.

Almost all traffic is valid frames. The framer handles everything else.
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

__all__ = ["SCANS", "CommandTable", "Scan", "known_commands", "scan"]

_HEADER = struct.Struct("<4s12sI4s")

CommandTable: TypeAlias = Mapping[bytes, tuple[str, int]]
"""By the 12 bytes in the header: a command and the size of its longest payload in bytes."""
Scan: TypeAlias = Callable[
    [bytes | bytearray, bytes, CommandTable, bool], tuple[list[str], list[int]]
]


def by_python(
    data: bytes | bytearray, magic: bytes, known: CommandTable, verify: bool = True
) -> tuple[list[str], list[int]]:
    """Return the commands of the valid frames that data begins with, and where each ends.

    Without `verify`, checksums are taken to be right.
    """
    names: list[str] = []
    ends: list[int] = []
    offset, size = 0, len(data)
    while size - offset >= HEADER_SIZE:
        found, raw_command, length, claimed = _HEADER.unpack_from(data, offset)
        name, limit = known.get(raw_command, ("", -1))
        end = offset + HEADER_SIZE + length
        if found != magic or length > limit or end > size:
            break
        payload = data[offset + HEADER_SIZE : end] if verify else b""
        if verify and sha256(sha256(payload).digest()).digest()[:4] != claimed:
            break
        names.append(name)
        ends.append(end)
        offset = end
    return names, ends


def _scans() -> dict[str, Scan]:
    try:
        from lbcproxy.wire._scan import by_native
    except ImportError:
        return {"python": by_python}
    return {"native": by_native, "python": by_python}


SCANS = _scans()
"""The implementations that this installation has; the first is used."""
scan: Scan = next(iter(SCANS.values()))


@functools.cache
def known_commands(
    network: Chain, stream_above: int | None, excluded: frozenset[str]
) -> CommandTable:
    """Return the table of the commands that have a record, without some."""
    codec = Codec(network)
    known = {}
    for name in commands():
        record = record_of(name)
        assert record is not None
        if name in excluded or codec.refusal(name, 0) is not None:
            continue
        limit = bound(record.maximum, codec.params)
        if stream_above is not None:
            limit = min(limit, stream_above)
        known[name.encode("latin-1").ljust(12, b"\0")] = (name, limit)
    return known
