"""How the legs of a session carry messages, and how a message came in an encrypted packet."""

from __future__ import annotations

import msgspec

from lbcproxy.transport.kind import Transport

__all__ = ["Decoy", "LegTransport", "PacketForm"]


class LegTransport(msgspec.Struct, frozen=True):
    """How a leg carries messages."""

    kind: Transport = Transport.V1
    session_id: bytes = b""
    """What both ends of an encrypted connection can compare, 32 bytes; empty otherwise."""


class PacketForm(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How a message came in a packet of the encrypted transport, where that is unusual.

    Usual is a short type where the command has one, right after the packet before it.
    """

    is_long: bool = False
    """Whether the type was written out, although the command has a short one."""
    decoys: int = 0
    """Decoy packets before it."""
    garbage: int = 0
    """Bytes of garbage before the first message of a direction."""
    version_size: int = 0
    """Bytes of contents in the version packet before it, which is usually empty."""


class Decoy(msgspec.Struct, frozen=True, gc=False):
    """A packet that the receiver ignores."""

    size: int
    """Bytes of its contents."""
