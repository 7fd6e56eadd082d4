"""pcapng: the format lbcproxy records in, and what Wireshark saves.

A file is a series of blocks, each with its length at both ends, so it can be read up to the first
block that is damaged. Sections may differ in byte order, interfaces in link type and unit of time.
Blocks and options without use here are skipped and counted.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from lbcproxy.capture.format import Format, Source
from lbcproxy.capture.formats._pcapng_blocks import (
    ENHANCED_PACKET,
    INTERFACE,
    MAX_BLOCK,
    MIN_BLOCK,
    OPTION_COMMENT,
    OPTION_CUSTOM,
    OPTION_DROPPED,
    OPTION_TIME_UNIT,
    PEN,
    RESUMABLE,
    SCHEMA,
    SECTION,
    STATISTICS,
    BlockReader,
    is_section,
    read_blocks,
)
from lbcproxy.capture.packet import Packet, Section, Statistics
from lbcproxy.capture.spans import Span, only_zeros
from lbcproxy.errors import CaptureError

__all__ = [
    "ENHANCED_PACKET",
    "FORMAT",
    "INTERFACE",
    "MIN_BLOCK",
    "OPTION_COMMENT",
    "OPTION_CUSTOM",
    "OPTION_DROPPED",
    "OPTION_TIME_UNIT",
    "PEN",
    "SCHEMA",
    "SECTION",
    "STATISTICS",
    "matches",
    "read",
    "read_counting",
    "spans",
]

_SEARCH_CHUNK = 1 << 20


def matches(head: bytes) -> bool:
    """Return whether a file that begins with these bytes is a pcapng file."""
    return is_section(head)


def read(file: BinaryIO) -> Iterator[Packet | Section | Statistics]:
    """Return the items in order; CaptureError where the file is damaged or cut.

    A packet in a block without a time (SPB) has the time 0.
    """
    return read_counting(file, Counter())


def read_counting(
    file: BinaryIO, not_kept: Counter[str]
) -> Iterator[Packet | Section | Statistics]:
    """Do the same, and count the blocks and options that are skipped, by description."""
    reader = BlockReader(not_kept)
    for block in read_blocks(file, reader):
        item = reader.item(block)
        if item is not None:
            yield item


def spans(file: BinaryIO) -> Iterator[Span]:
    """Return the intact and the damaged spans of a file, from its start to its end.

    After damage, reading resumes at the next intact block that another one follows.
    """
    reader = BlockReader()
    size = file.seek(0, 2)
    start = 0
    while start < size:
        file.seek(start)
        end, packets, damage = start, 0, None
        try:
            for block in read_blocks(file, reader, start):
                packets += isinstance(reader.item(block), Packet)
                end = block.offset + len(block.body) + MIN_BLOCK
        except CaptureError as error:
            damage = error.what
        if end > start:
            yield Span(start, end, packets)
        if damage is None:
            return
        resumed = _resume(file, reader, end + 1)
        torn = resumed is None and _is_tail(file, end)
        start = size if resumed is None else resumed
        yield Span(end, start, damage=damage, torn=torn)


def _is_tail(file: BinaryIO, offset: int) -> bool:
    """Return whether a crash may have left the rest: the start of a block, or zeros."""
    size = file.seek(0, 2)
    file.seek(offset)
    head = file.read(8)
    if len(head) < 8:
        return True
    totals = (int.from_bytes(head[4:], order) for order in ("little", "big"))
    if any(total % 4 == 0 and size - offset < total <= MAX_BLOCK for total in totals):
        return True
    return only_zeros(file, offset)


def _resume(file: BinaryIO, reader: BlockReader, offset: int) -> int | None:
    """Return the offset where blocks begin again after damage; None if they do not.

    If a section's header is lost, that is where the next section begins: the interfaces of the
    lost one are unknown.
    """
    kinds = [SECTION.to_bytes(4)]
    file.seek(offset - 1)
    if reader.order and file.read(4) != kinds[0]:
        kinds += [struct.pack(reader.order + "I", kind) for kind in RESUMABLE]
    pattern = re.compile(b"|".join(map(re.escape, kinds)))
    while True:
        file.seek(offset)
        data = file.read(_SEARCH_CHUNK)
        for match in pattern.finditer(data):
            candidate = offset + match.start()
            if _is_block(file, reader.copy(), candidate):
                return candidate
        if len(data) < _SEARCH_CHUNK:
            return None
        offset += len(data) - 3  # a block's type may lie across the border


def _is_block(file: BinaryIO, reader: BlockReader, offset: int) -> bool:
    """Return whether an intact block begins here, followed by another or the file's end."""
    file.seek(offset)
    try:
        for number, block in enumerate(read_blocks(file, reader, offset)):
            reader.item(block)
            if number:
                return True
    except CaptureError as error:
        return bool(error.offset != offset and _is_tail(file, error.offset or 0))
    return True


def _read_source(source: Source) -> Iterator[Packet | Section | Statistics]:
    return read_counting(source.file, source.not_kept)


FORMAT = Format(
    name="pcapng",
    suffixes=(".pcapng", ".ntar"),
    matches=matches,
    read=_read_source,
    spans=spans,
)
