"""Encrypted packets (BIP324) that are damaged on purpose, so that the receiver has to notice."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from lbcproxy.transport.sizes import LENGTH_SIZE, OVERHEAD, TAG_SIZE

__all__ = ["PacketDamage", "WrongLength", "WrongTag"]


class WrongTag(msgspec.Struct, frozen=True, gc=False):
    """One bit of the tag is another."""

    bit: int = 0
    """Which, from 0 to 127."""

    def __str__(self) -> str:
        return f"bit {self.bit} of its tag is wrong"

    def applied(self, packet: bytes) -> bytes:
        """Return a packet with the damage."""
        damaged = bytearray(packet)
        damaged[len(packet) - TAG_SIZE + self.bit // 8] ^= 1 << self.bit % 8
        return bytes(damaged)


class WrongLength(msgspec.Struct, frozen=True, gc=False):
    """The packet claims another size of its contents."""

    claimed: int
    """In bytes."""

    def __str__(self) -> str:
        return f"it claims {self.claimed:,} bytes"

    def applied(self, packet: bytes) -> bytes:
        """Return a packet with the damage: what is added to a keystream shows in the plain text."""
        changed = self.claimed ^ (len(packet) - OVERHEAD)
        length = int.from_bytes(packet[:LENGTH_SIZE], "little") ^ changed
        return length.to_bytes(LENGTH_SIZE, "little") + packet[LENGTH_SIZE:]


PacketDamage: TypeAlias = WrongTag | WrongLength
