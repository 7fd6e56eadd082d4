"""The network of a connection, by the magic at the start of a frame."""

from __future__ import annotations

import re

from lbcproxy import networks
from lbcproxy.errors import UnknownNetwork
from lbcproxy.networks import Network

__all__ = ["MAX_FRAME_START", "network_in", "network_with"]

MAX_FRAME_START = 16
"""Bytes of a magic and a command, which may come in two packets."""


def network_in(data: bytes) -> Network | None:
    """Return the network whose frame begins in some bytes; UnknownNetwork if two share a magic."""
    found = _FRAME_START.search(data)
    return None if found is None else network_with(found[0][:4])


def network_with(magic: bytes) -> Network:
    """Return the network that has a magic; UnknownNetwork unless it is clear which."""
    network = networks.meant_by(magic)
    if network is None:
        names = " and ".join(each.id for each in networks.with_magic(magic)) or "no known network"
        raise UnknownNetwork(f"magic {magic.hex()} is that of {names}: say --network")
    return network


def _frame_start_pattern() -> re.Pattern[bytes]:
    """Return a pattern that matches a magic followed by a command."""
    magics = b"|".join(re.escape(each.magic) for each in networks.all_networks().values())
    return re.compile(b"(?:" + magics + rb")[a-z0-9]{2,12}")


_FRAME_START = _frame_start_pattern()
