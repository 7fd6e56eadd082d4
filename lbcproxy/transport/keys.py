"""The keys of a connection, derived from the secret that its two sides share (BIP324)."""

from __future__ import annotations

from typing import NamedTuple

from lbcproxy.transport.curve import MissingLibrary

try:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
except ImportError:
    raise MissingLibrary("cryptography") from None

__all__ = ["TERMINATOR_SIZE", "DirectionKeys", "SessionKeys"]

TERMINATOR_SIZE = 16
_SALT = b"bitcoin_v2_shared_secret"


class DirectionKeys(NamedTuple):
    """What encrypts one direction of a connection."""

    lengths: bytes
    """The first key of its `LengthCipher`, 32 bytes."""
    packets: bytes
    """The first key of its `PacketCipher`, 32 bytes."""
    terminator: bytes
    """The 16 bytes after its garbage."""

    def __repr__(self) -> str:
        """Return text without the keys."""
        return f"{type(self).__name__}(...)"


class SessionKeys(NamedTuple):
    """All keys of a connection; both sides derive the same."""

    session_id: bytes
    """32 bytes that are the same for both sides unless somebody is in the middle."""
    initiator: DirectionKeys
    """The direction from the side that opened the connection."""
    responder: DirectionKeys
    """The direction from the side that accepted the connection."""

    def __repr__(self) -> str:
        """Return text without the keys."""
        return f"{type(self).__name__}(session_id={self.session_id.hex()})"

    @classmethod
    def derive(cls, secret: bytes, magic: bytes) -> SessionKeys:
        """Return the keys for a shared secret on the network with a magic.

        Sides with different magics derive different keys, so they understand nothing of each other.
        """

        def key(info: bytes) -> bytes:
            return HKDF(SHA256(), 32, salt=_SALT + magic, info=info).derive(secret)

        terminators = key(b"garbage_terminators")
        return cls(
            key(b"session_id"),
            DirectionKeys(key(b"initiator_L"), key(b"initiator_P"), terminators[:TERMINATOR_SIZE]),
            DirectionKeys(key(b"responder_L"), key(b"responder_P"), terminators[TERMINATOR_SIZE:]),
        )
