"""The hashes of the protocol: checksums, block and transaction ids, LBRY's proof of work."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

__all__ = [
    "display",
    "from_display",
    "hash160",
    "lbry_pow_hash",
    "merkle_root",
    "ripemd160",
    "sha256d",
    "siphash24",
]

_64_BITS = (1 << 64) - 1
_TWO, _FOUR = range(2), range(4)


def sha256d(data: bytes) -> bytes:
    """SHA-256 of SHA-256: checksums, block ids, transaction ids (32 bytes)."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def ripemd160(data: bytes) -> bytes:
    """RIPEMD-160 (20 bytes), from OpenSSL, or from pycryptodome where OpenSSL lacks it."""
    try:
        return hashlib.new("ripemd160", data, usedforsecurity=False).digest()
    except ValueError:
        from Crypto.Hash import RIPEMD160  # OpenSSL 3.0.0 to 3.0.6 ship without it

        return bytes(RIPEMD160.new(data).digest())


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256 (20 bytes): addresses and LBRY's claim ids."""
    return ripemd160(hashlib.sha256(data).digest())


def lbry_pow_hash(header: bytes) -> bytes:
    """Return the hash of a block header that LBRY's proof of work compares with the target.

    32 bytes, as in lbcd `wire/blockheader.go`. The id of a block is still its `sha256d`.
    """
    long = hashlib.sha512(sha256d(header)).digest()
    return sha256d(ripemd160(long[:32]) + ripemd160(long[32:]))


def merkle_root(txids: Iterable[bytes]) -> bytes:
    """Return the merkle root of the ids of a block's transactions (32 bytes, wire order)."""
    level = list(txids)
    while len(level) > 1:
        if len(level) % 2:
            level.append(level[-1])
        level = [sha256d(level[at] + level[at + 1]) for at in range(0, len(level), 2)]
    return level[0] if level else bytes(32)


def siphash24(key: bytes, data: bytes) -> int:
    """Return SipHash-2-4 (64 bits) of data under a key of 16 bytes, as BIP152's short ids use it.

    One loop without calls: rebuilding a block takes thousands of these.
    """
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:16], "little")
    v0, v1 = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D
    v2, v3 = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573
    padded = data + bytes(7 - len(data) % 8) + bytes((len(data) & 0xFF,))
    words = struct.unpack(f"<{len(padded) // 8}Q", padded)
    for word, rounds in [*((word, _TWO) for word in words), (0, _FOUR)]:
        v3 ^= word
        if rounds is _FOUR:
            v2 ^= 0xFF
        for _ in rounds:
            v0 = v0 + v1 & _64_BITS
            v1 = (v1 << 13 | v1 >> 51) & _64_BITS ^ v0
            v0 = (v0 << 32 | v0 >> 32) & _64_BITS
            v2 = v2 + v3 & _64_BITS
            v3 = (v3 << 16 | v3 >> 48) & _64_BITS ^ v2
            v0 = v0 + v3 & _64_BITS
            v3 = (v3 << 21 | v3 >> 43) & _64_BITS ^ v0
            v2 = v2 + v1 & _64_BITS
            v1 = (v1 << 17 | v1 >> 47) & _64_BITS ^ v2
            v2 = (v2 << 32 | v2 >> 32) & _64_BITS
        v0 ^= word
    return v0 ^ v1 ^ v2 ^ v3


def display(digest: bytes) -> str:
    """Return a hash in display order: hexadecimal, bytes reversed."""
    return digest[::-1].hex()


def from_display(text: str) -> bytes:
    """Return a hash in wire order from its display form; raises ValueError if it is not hex."""
    return bytes.fromhex(text)[::-1]
