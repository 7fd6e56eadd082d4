"""The node as a peer knows it, what is counted, and a snapshot of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from lbcproxy.session.command_counter import CommandNames
from lbcproxy.text import printable
from lbcproxy.wire.hashes import display
from lbcproxy.wire.messages.handshake import Version

__all__ = ["Counters", "PeerStatistics", "RemoteNode"]


class PeerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A peer at one moment. Times of day are unix seconds, None for never; sizes are bytes."""

    id: int
    """Counted from 1 in the process; 0 until the node's version has been accepted."""
    address: str
    inbound: bool
    services: int | None
    """The service bits that the node signals; None before its version."""
    user_agent: bytes | None
    version: int | None
    """The protocol version that the node advertised."""
    protocol_version: int
    """The negotiated protocol version; before that our own highest."""
    starting_height: int | None
    last_block: int | None
    """The height that the node is known to have. It never falls."""
    last_announced: bytes | None
    """The hash of the block that the node announced last, as given to `update_last_announced`."""
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
    """The same. Bytes that are not a frame only count in `bytes_received`."""
    ping_nonce: int
    """Of the ping that waits for its pong; 0 if none does."""
    ping_at: float | None
    """When the last ping was sent."""
    ping_seconds: float | None
    """How long the last pong took."""
    queued_bytes: int
    """Of messages that wait to be sent."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON. Texts that the node chose are escaped."""
        fields: dict[str, Any] = msgspec.structs.asdict(self)
        agent, block = self.user_agent, self.last_announced
        return fields | {
            "sent": {printable(name): list(pair) for name, pair in self.sent.items()},
            "received": {printable(name): list(pair) for name, pair in self.received.items()},
            "user_agent": None if agent is None else printable(agent),
            "last_announced": None if block is None else display(block),
        }


class RemoteNode:
    """The node at the other end: its `version`, what it asked for, and its height."""

    def __init__(self) -> None:
        self.id = 0
        self.version: Version | None = None
        self.time_offset: int | None = None
        self.last_block: int | None = None
        self.last_announced: bytes | None = None
        self.wants_headers = False

    @property
    def services(self) -> int:
        """The service bits it signals; 0 before its `version`."""
        return 0 if self.version is None else self.version.services

    def introduce(self, version: Version, number: int, wall: float) -> None:
        """Record its `version`, received at a time of day in unix seconds."""
        self.id = number
        self.version = version
        self.time_offset = version.timestamp - int(wall)
        self.last_block = version.start_height

    def received(self, command: str) -> None:
        """Record what a message asks for."""
        self.wants_headers = self.wants_headers or command == "sendheaders"


class Counters:
    """Bytes and messages by command, in both directions."""

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
        """Count a message that was sent, at a time of day in unix seconds."""
        self.bytes_sent += size
        self.last_sent = wall
        command = self._names.counted_as(command)
        self._sent[command] += 1
        self._sent_bytes[command] += size

    def received(self, command: str, size: int, wall: float) -> None:
        """Count a message that arrived, at a time of day in unix seconds."""
        self.last_received = wall
        command = self._names.counted_as(command)
        self._received[command] += 1
        self._received_bytes[command] += size

    def sent_by_command(self) -> Mapping[str, tuple[int, int]]:
        """Return messages and bytes by command, as a copy."""
        return _combined(self._sent, self._sent_bytes)

    def received_by_command(self) -> Mapping[str, tuple[int, int]]:
        """Return the same for what arrived."""
        return _combined(self._received, self._received_bytes)


def _combined(count: Counter[str], size: Counter[str]) -> Mapping[str, tuple[int, int]]:
    return MappingProxyType({name: (number, size[name]) for name, number in count.items()})
