"""The hashes of the protocol: checksums, block and transaction ids, LBRY's proof of work."""

from __future__ import annotations

import hashlib

__all__ = ["display", "from_display", "hash160", "lbry_pow_hash", "ripemd160", "sha256d"]


def sha256d(data: bytes) -> bytes:
    """SHA-256 of SHA-256: checksums, block ids, transaction ids (32 bytes)."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def ripemd160(data: bytes) -> bytes:
    """RIPEMD-160 (20 bytes), from OpenSSL, or from pycryptodome where OpenSSL left it out."""
    try:
        return hashlib.new("ripemd160", data, usedforsecurity=False).digest()
    except ValueError:
        from Crypto.Hash import RIPEMD160  # OpenSSL 3.0.0 to 3.0.6 ship without it

        return bytes(RIPEMD160.new(data).digest())


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256 (20 bytes): addresses and LBRY's claim ids."""
    return ripemd160(hashlib.sha256(data).digest())


def lbry_pow_hash(header: bytes) -> bytes:
    """Hash a block header as LBRY's proof of work does (32 bytes, compared with the target only).

    Follows lbcd `wire/blockheader.go`; the block's id is `sha256d` as everywhere else.
    """
    long = hashlib.sha512(sha256d(header)).digest()
    return sha256d(ripemd160(long[:32]) + ripemd160(long[32:]))


def display(digest: bytes) -> str:
    """Write a hash as people do: hexadecimal, bytes reversed."""
    return digest[::-1].hex()


def from_display(text: str) -> bytes:
    """Read a hash written as people do; raises ValueError if it is not hexadecimal."""
    return bytes.fromhex(text)[::-1]
