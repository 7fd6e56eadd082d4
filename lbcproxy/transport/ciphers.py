"""The two ciphers of BIP324, which change their keys after every 224 uses.

`LengthCipher` is the BIP's FSChaCha20 for the three bytes before a packet, `PacketCipher` its
FSChaCha20Poly1305 for the packet. Each instance serves one direction of one connection.
"""

from __future__ import annotations

from lbcproxy.transport.curve import MissingLibrary
from lbcproxy.transport.sizes import LENGTH_SIZE

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
except ImportError:
    raise MissingLibrary("cryptography") from None

__all__ = [
    "REKEY_INTERVAL",
    "InvalidTag",
    "LengthCipher",
    "PacketCipher",
]

REKEY_INTERVAL = 224
_KEY_SIZE = 32
_STREAM_SIZE = REKEY_INTERVAL * LENGTH_SIZE
_COUNTS = tuple(used.to_bytes(4, "little") for used in range(REKEY_INTERVAL))
"""How a nonce begins; the number of the period follows."""


class LengthCipher:
    """Encrypts and decrypts lengths: one key stream for 224 of them, then a new key.

    The stream of a period is made at once. Calling it a second time would use the next bytes of the
    stream, so each length must be given exactly once.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._period = 0
        self._used = 0
        self._stream: list[int] = []
        self._begin_period()

    def apply(self, length: int) -> int:
        """Encrypt or decrypt the next length, a number of 24 bits."""
        result = length ^ self._stream[self._used]
        self._used += 1
        if self._used == REKEY_INTERVAL:
            self._period += 1
            self._begin_period()
        return result

    def _begin_period(self) -> None:
        # The library's nonce is the block counter and then that of RFC 8439, which is four zero
        # bytes and the number of the period; all little endian.
        nonce = bytes(8) + self._period.to_bytes(8, "little")
        cipher = Cipher(ChaCha20(self._key, nonce), mode=None)
        stream = cipher.encryptor().update(bytes(_STREAM_SIZE + _KEY_SIZE))
        self._key = stream[_STREAM_SIZE:]
        self._used = 0
        self._stream = [
            int.from_bytes(stream[at : at + LENGTH_SIZE], "little")
            for at in range(0, _STREAM_SIZE, LENGTH_SIZE)
        ]


class PacketCipher:
    """Encrypts or decrypts packets, with a tag that proves that nobody changed them."""

    def __init__(self, key: bytes) -> None:
        self._cipher = ChaCha20Poly1305(key)
        self._used = 0
        self._period = bytes(8)

    def encrypt(self, plain: bytes, associated: bytes | None) -> bytes:
        """Return the encrypted packet and its tag."""
        used = self._used
        encrypted = self._cipher.encrypt(_COUNTS[used] + self._period, plain, associated)
        self._used = used + 1
        if self._used == REKEY_INTERVAL:
            self._begin_period()
        return encrypted

    def decrypt(self, encrypted: bytes | memoryview, associated: bytes | None) -> bytes:
        """Return a packet; raises InvalidTag if it is not what the other side sent."""
        used = self._used
        plain = self._cipher.decrypt(_COUNTS[used] + self._period, encrypted, associated)
        self._used = used + 1
        if self._used == REKEY_INTERVAL:
            self._begin_period()
        return plain

    def _begin_period(self) -> None:
        key = self._cipher.encrypt(b"\xff" * 4 + self._period, bytes(_KEY_SIZE), None)
        self._cipher = ChaCha20Poly1305(key[:_KEY_SIZE])
        self._period = (int.from_bytes(self._period, "little") + 1).to_bytes(8, "little")
        self._used = 0
