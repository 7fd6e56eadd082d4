"""The transports, and the ways to choose one."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Transport"]


class Transport(StrEnum):
    """How a connection carries messages."""

    AUTO = "auto"
    """A choice only: as the side that opened the connection begins, or as the other leg does."""
    V1 = "v1"
    """Not encrypted."""
    V2 = "v2"
    """Encrypted (BIP324)."""
    OPAQUE = "opaque"
    """Not read: bytes pass as they came."""
