"""Elliptic curve keys for BIP324: ElligatorSwift encodings and the secret that two of them share.

libsecp256k1 does the work, through coincurve. coincurve has no public method for ElligatorSwift, so
this is the only module that knows the library: another one could take its place here.
"""

from __future__ import annotations

import functools
import importlib
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lbcproxy.transport._secp256k1 import Library

from lbcproxy.errors import LbcproxyError

__all__ = ["PUBLIC_KEY_SIZE", "EphemeralKey", "MissingLibrary", "require_libraries"]

PUBLIC_KEY_SIZE = 64
"""Bytes of a public key in ElligatorSwift encoding; any bytes of this length are one."""
SECRET_SIZE = 32


class MissingLibrary(LbcproxyError):
    """A library for the encrypted transport is not installed, or is not the one that is needed."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the encrypted transport (BIP324) needs {name}: install lbcproxy with its extra bip324"
        )


def require_libraries() -> None:
    """Raise MissingLibrary if connections cannot be encrypted."""
    _library()
    importlib.import_module("lbcproxy.transport.ciphers")


class EphemeralKey:
    """A private key for one connection.

    Args:
        secret: The private key, 32 bytes; random by default.
        public: Its public key, 64 bytes, if the encoding is known; a random encoding by default.
    """

    def __init__(self, secret: bytes | None = None, public: bytes | None = None) -> None:
        self._library = _library()
        self._secret = secrets.token_bytes(SECRET_SIZE) if secret is None else secret
        self.public = public or self._library.create(self._secret, secrets.token_bytes(32))
        """The public key in ElligatorSwift encoding, which looks like random bytes."""

    def __repr__(self) -> str:
        """Return text without the secret."""
        return f"{type(self).__name__}({self.public[:4].hex()}...)"

    def shared_secret(self, theirs: bytes, *, initiating: bool) -> bytes:
        """Return the 32 bytes that both sides compute, each from its own key and the other's.

        Args:
            theirs: The other side's public key, 64 bytes.
            initiating: Whether this side opened the connection.
        """
        return self._library.shared_secret(self._secret, self.public, theirs, initiating)


@functools.cache
def _library() -> Library:
    try:
        from lbcproxy.transport._secp256k1 import Library
    except (ImportError, AttributeError):
        raise MissingLibrary("coincurve") from None
    return Library()
