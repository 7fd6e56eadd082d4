"""The calls of libsecp256k1 that BIP324 needs, through the module of coincurve that wraps it."""

from __future__ import annotations

from coincurve._libsecp256k1 import ffi, lib

__all__ = ["Library"]


class Library:
    """libsecp256k1's module `ellswift`; lengths of arguments are not checked."""

    def __init__(self) -> None:
        self._context = lib.secp256k1_context_create(lib.SECP256K1_CONTEXT_NONE)
        self._hash = lib.secp256k1_ellswift_xdh_hash_function_bip324

    def create(self, secret: bytes, randomness: bytes) -> bytes:
        """Return the public key of a private key, in an encoding that `randomness` chooses."""
        public = ffi.new("unsigned char[64]")
        if not lib.secp256k1_ellswift_create(self._context, public, secret, randomness):
            raise ValueError("not a private key: zero, or not below the order of the group")
        return bytes(ffi.buffer(public))

    def decode(self, encoded: bytes) -> bytes:
        """Return the x coordinate of an encoded point, 32 bytes, big endian."""
        point, x = ffi.new("secp256k1_pubkey *"), ffi.new("unsigned char[33]")
        size = ffi.new("size_t *", 33)
        lib.secp256k1_ellswift_decode(self._context, point, encoded)
        compressed = lib.SECP256K1_EC_COMPRESSED
        lib.secp256k1_ec_pubkey_serialize(self._context, x, size, point, compressed)
        return bytes(ffi.buffer(x))[1:]

    def shared_secret(self, secret: bytes, ours: bytes, theirs: bytes, initiating: bool) -> bytes:
        """Return the tagged hash of both encodings and the shared x coordinate (BIP324)."""
        first, second = (ours, theirs) if initiating else (theirs, ours)
        output = ffi.new("unsigned char[32]")
        party = 0 if initiating else 1
        done = lib.secp256k1_ellswift_xdh(
            self._context, output, first, second, secret, party, self._hash, ffi.NULL
        )
        if not done:
            raise ValueError("not a private key: zero, or not below the order of the group")
        return bytes(ffi.buffer(output))
