"""Where junk ends: bytes that are not part of a frame.

A frame begins with the network's magic (4 bytes), followed by the command (12 bytes).
"""

from __future__ import annotations

from lbcproxy.wire.envelope import HEADER_SIZE, command_problem, unpack

__all__ = ["COMMAND_END", "JUNK_SIZE", "end_before_magic", "has_valid_command", "junk_limit"]

JUNK_SIZE = 65_536
"""Size in bytes at which junk is cut."""
COMMAND_START, COMMAND_END = 4, 16
"""Where a header has its command."""


def has_valid_command(buffer: bytearray, offset: int) -> bool:
    """Return whether a frame at this offset would have a well-formed command."""
    command = bytes(buffer[offset + COMMAND_START : offset + COMMAND_END])
    return command_problem(command) is None


def junk_limit(buffer: bytearray) -> int:
    """Return where junk without a magic is cut.

    After a complete frame of another network, otherwise at `JUNK_SIZE`.
    """
    if len(buffer) < HEADER_SIZE:
        return JUNK_SIZE
    header = unpack(buffer)
    if header.length > JUNK_SIZE or command_problem(header.raw_command) is not None:
        return JUNK_SIZE
    return HEADER_SIZE + header.length


def end_before_magic(buffer: bytearray, magic: bytes) -> int:
    """Return the number of bytes that cannot begin a magic, whatever follows them."""
    size = len(buffer)
    for length in (3, 2, 1):
        if size >= length and buffer.endswith(magic[:length]):
            return size - length
    return size
