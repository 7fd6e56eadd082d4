"""What waits in one direction of a session until each leg can carry messages."""

from __future__ import annotations

from collections.abc import Sequence

from lbcproxy.transport.events import PacketReceived, TransportEvent
from lbcproxy.transport.messages import parse_contents

__all__ = ["EVENT_SIZE", "MAX_WAITING", "Waiting"]

MAX_WAITING = 262_144
"""Bytes of a leg that may wait for the other leg before the leg is not read any more."""
EVENT_SIZE = 100
"""About how much memory an event takes, besides the contents of a packet."""


class Waiting:
    """What a node has sent, in order."""

    def __init__(self) -> None:
        self._received: list[TransportEvent | bytes] = []
        self.size = 0
        """About how many bytes it takes."""
        self.has_ended = False
        """Whether the node sends nothing more."""

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._received)

    @property
    def is_full(self) -> bool:
        """Whether the node should not be read any further."""
        return self.size > MAX_WAITING

    def add(self, what: TransportEvent | bytes) -> None:
        """Keep an event of an encrypted leg, or bytes of another."""
        self._received.append(what)
        if isinstance(what, bytes):
            self.size += len(what)
        else:
            self.size += EVENT_SIZE + len(_contents(what))

    def take(self) -> list[TransportEvent | bytes]:
        """Return what waits, and forget it."""
        received, self._received, self.size = self._received, [], 0
        return received


def frames_of(received: Sequence[TransportEvent | bytes], magic: bytes) -> bytes:
    """Return the messages in what a node has sent, as v1 frames one after another."""
    parts = []
    for each in received:
        if isinstance(each, bytes):
            parts.append(each)
        elif message := parse_contents(_contents(each)):
            parts.append(message.frame(magic))
    return b"".join(parts)


def _contents(event: TransportEvent) -> bytes:
    return event.contents if isinstance(event, PacketReceived) else b""
