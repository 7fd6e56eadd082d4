"""The sizes of encrypted packets (BIP324), for modules that need no library for encryption."""

from __future__ import annotations

__all__ = ["LENGTH_SIZE", "MAX_GARBAGE", "OVERHEAD", "PACKET_HEADER_SIZE", "TAG_SIZE"]

LENGTH_SIZE = 3
"""Bytes of the encrypted length before a packet."""
PACKET_HEADER_SIZE = 1
TAG_SIZE = 16
"""Bytes after a packet that prove that nobody changed it."""
OVERHEAD = LENGTH_SIZE + PACKET_HEADER_SIZE + TAG_SIZE
"""Bytes of a packet besides its contents."""
MAX_GARBAGE = 4_095
"""Bytes of garbage after a public key, at most."""
