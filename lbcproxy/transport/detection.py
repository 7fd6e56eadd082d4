"""Which transport the side that opened a connection speaks, by its first 16 bytes (BIP324).

A v1 connection begins with the magic and the command `version`. A public key looks like random
bytes, so anything else is v2, with two exceptions that are v1 as well: the `version` of another
network, and any other command after the magic. A node may begin with the latter by mistake, or a
test on purpose. A key begins so once in 2^32 times at most.
"""

from __future__ import annotations

import enum
import re

__all__ = ["PREFIX_SIZE", "Detected", "detect"]

PREFIX_SIZE = 16
_VERSION = b"version".ljust(12, b"\0")
_COMMAND = re.compile(rb"[!-~]+\0*")


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
    if data[:4] == magic:
        is_v1, found = not command or _COMMAND.fullmatch(command) is not None, Detected.V1
    else:
        is_v1, found = _VERSION.startswith(command), Detected.V1_OF_ANOTHER_NETWORK
    if not is_v1:
        return Detected.V2
    return found if len(data) >= PREFIX_SIZE else Detected.UNDECIDED
