"""What happens on an encrypted connection, as values."""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

__all__ = [
    "BreakCause",
    "Broken",
    "DecoyReceived",
    "GarbageReceived",
    "KeysAgreed",
    "PacketReceived",
    "TransportEvent",
    "Unread",
    "VersionReceived",
]


class BreakCause(enum.Enum):
    """Why a direction cannot be read any further."""

    NO_TERMINATOR = "no terminator"
    BAD_TAG = "bad tag"
    TOO_LONG = "packet too long"
    CUT_OFF = "cut off"
    V1 = "not encrypted"
    NO_LIBRARY = "not installed"


class KeysAgreed(msgspec.Struct, frozen=True, gc=False):
    """The other side's public key has come: packets can be sent after a terminator."""

    session_id: bytes


class GarbageReceived(msgspec.Struct, frozen=True, gc=False):
    """The garbage of the other side has ended."""

    size: int


class VersionReceived(msgspec.Struct, frozen=True, gc=False):
    """The version packet has come: the handshake is done. Its contents have no meaning yet."""

    contents: bytes


class PacketReceived(msgspec.Struct, frozen=True, gc=False):
    """A packet with a message."""

    contents: bytes


class DecoyReceived(msgspec.Struct, frozen=True, gc=False):
    """A packet that is to be ignored."""

    size: int
    """Bytes of its contents."""


class Broken(msgspec.Struct, frozen=True, gc=False):
    """The other side's bytes cannot be read any further; both nodes would end the connection."""

    cause: BreakCause
    detail: str
    rest: bytes
    """The bytes that were not read, as they came."""


class Unread(msgspec.Struct, frozen=True, gc=False):
    """Bytes after `Broken`."""

    data: bytes


TransportEvent: TypeAlias = (
    KeysAgreed
    | GarbageReceived
    | VersionReceived
    | PacketReceived
    | DecoyReceived
    | Broken
    | Unread
)
