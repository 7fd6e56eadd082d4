"""What a recording lacks, and the block by which its file says so."""

from __future__ import annotations

import struct
import time
from typing import Self

from lbcproxy.capture.formats import pcapng

__all__ = ["Loss"]

STATISTICS = 5
OPTION_DROPPED = 5


class Loss:
    """Messages and bytes of capture that were not written."""

    def __init__(self, messages: int = 0, size: int = 0) -> None:
        self.messages = messages
        self.size = size
        self.said = False
        """Whether it has been told already."""

    def __bool__(self) -> bool:
        return self.size > 0

    def __iadd__(self, other: Loss) -> Self:
        self.messages += other.messages
        self.size += other.size
        self.said = self.said or other.said
        return self

    def __str__(self) -> str:
        return f"{self.messages:,} messages ({self.size:,} bytes of capture) were not recorded"

    def block(self) -> bytes:
        """Give an Interface Statistics Block that says it: capinfos and Wireshark count it.

        Nothing where nothing is missing.
        """
        if not self:
            return b""
        nanoseconds = time.time_ns()
        body = struct.pack("<III", 0, nanoseconds >> 32, nanoseconds & 0xFFFFFFFF)
        said = pcapng.options(
            (pcapng.OPTION_COMMENT, f"{self} before this".encode()),
            (OPTION_DROPPED, struct.pack("<Q", self.messages)),
        )
        return pcapng.block(STATISTICS, body + said + bytes(4))
