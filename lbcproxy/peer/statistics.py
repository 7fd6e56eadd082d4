"""What is counted of a peer, and a snapshot of it (PEER.md Q)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from lbcproxy.session.command_counter import CommandNames
from lbcproxy.text import printable
from lbcproxy.wire.hashes import display

__all__ = ["Counters", "PeerStatistics"]


class PeerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A peer at one moment. Times of day are unix seconds, None for never."""

    id: int
    """Counted from 1 over the process; 0 until the node's version has been taken."""
    address: str
    inbound: bool
    services: int | None
    """What the node signals; None before its version."""
    user_agent: bytes | None
    version: int | None
    """What the node advertised."""
    protocol_version: int
    """What was agreed; our own highest before that."""
    starting_height: int | None
    last_block: int | None
    """The height the node is known to have: never falls."""
    last_announced: bytes | None
    """The hash of the block it announced last, as `update_last_announced` was told."""
    wants_headers: bool
    """Whether it asked for blocks to be announced by `headers` (`sendheaders`)."""
    wants_addrv2: bool
    """Whether it asked for `addrv2` (`sendaddrv2`)."""
    wants_wtxids: bool
    """Whether it asked for transactions by their witness hash (`wtxidrelay`)."""
    has_witness: bool
    """Whether it signals that it serves witnesses."""
    time_offset: int | None
    """Seconds by which the node's clock is ahead of ours."""
    connected_at: float | None
    last_sent: float | None
    last_received: float | None
    bytes_sent: int
    bytes_received: int
    sent: Mapping[str, tuple[int, int]]
    """Messages and bytes by command."""
    received: Mapping[str, tuple[int, int]]
    """The same. Bytes that are no frame count in `bytes_received` alone."""
    ping_nonce: int
    """Of the ping that waits for its pong; 0 if none does."""
    ping_at: float | None
    """When the last ping was sent."""
    ping_seconds: float | None
    """How long the last pong took."""
    queued_bytes: int
    """Of messages that wait to be sent."""

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON can hold it; what the node chose freely is escaped."""
        plain = {name: getattr(self, name) for name in self.__struct_fields__}
        for name in ("sent", "received"):
            plain[name] = {printable(key): list(pair) for key, pair in plain[name].items()}
        agent, block = self.user_agent, self.last_announced
        return plain | {
            "user_agent": None if agent is None else printable(agent),
            "last_announced": None if block is None else display(block),
        }


class Counters:
    """Bytes and messages, by command, in both directions."""

    def __init__(self) -> None:
        self.bytes_sent = 0
        self.bytes_received = 0
        self.last_sent: float | None = None
        self.last_received: float | None = None
        self._sent: Counter[str] = Counter()
        self._sent_bytes: Counter[str] = Counter()
        self._received: Counter[str] = Counter()
        self._received_bytes: Counter[str] = Counter()
        self._names = CommandNames()

    def sent(self, command: str, size: int, wall: float) -> None:
        """Count a message that was sent."""
        self.bytes_sent += size
        self.last_sent = wall
        command = self._names.counted_as(command)
        self._sent[command] += 1
        self._sent_bytes[command] += size

    def received(self, command: str, size: int, wall: float) -> None:
        """Count a message that arrived."""
        self.last_received = wall
        command = self._names.counted_as(command)
        self._received[command] += 1
        self._received_bytes[command] += size

    def sent_by_command(self) -> Mapping[str, tuple[int, int]]:
        """Give messages and bytes by command; what is given never changes."""
        return _together(self._sent, self._sent_bytes)

    def received_by_command(self) -> Mapping[str, tuple[int, int]]:
        """Give the same of what arrived."""
        return _together(self._received, self._received_bytes)


def _together(count: Counter[str], size: Counter[str]) -> Mapping[str, tuple[int, int]]:
    return MappingProxyType({name: (number, size[name]) for name, number in count.items()})
