"""Which transport the side that opened a connection speaks, by its first 16 bytes (BIP324).

A v1 connection begins with the magic and the command `version`. A public key looks like random
bytes, so anything else is v2, except the `version` of another network, which is v1 as well.
"""

from __future__ import annotations

import enum

__all__ = ["PREFIX_SIZE", "Detected", "detect"]

PREFIX_SIZE = 16
_COMMAND = b"version".ljust(12, b"\0")


class Detected(enum.Enum):
    """What the first bytes of a connection are."""

    UNDECIDED = "undecided"
    V1 = "v1"
    V2 = "v2"
    V1_OF_ANOTHER_NETWORK = "v1 of another network"


def detect(data: bytes, magic: bytes) -> Detected:
    """Return what a connection begins with, as soon as that is certain.

    Args:
        data: All bytes that the side that opened the connection has sent so far.
        magic: The four bytes of the network.
    """
    command = data[4:PREFIX_SIZE]
    if not _COMMAND.startswith(command):
        return Detected.V2
    if data[:4] == magic:
        return Detected.UNDECIDED if len(data) < PREFIX_SIZE else Detected.V1
    if len(data) < PREFIX_SIZE:
        return Detected.UNDECIDED
    return Detected.V1_OF_ANOTHER_NETWORK
