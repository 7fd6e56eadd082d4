"""Helpers for messages that users often send: addresses, block locators, rejects."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from lbcproxy.wire.errors import BadRecord
from lbcproxy.wire.messages.addresses import AddressV2, TimedAddress
from lbcproxy.wire.messages.headers import GetBlocks, GetHeaders
from lbcproxy.wire.messages.reject import Reject

__all__ = ["MAX_ADDRESSES", "WITH_HASH", "LocatorRequests", "choose_addresses", "make_reject"]

MAX_ADDRESSES = 1000
MAX_LOCATOR = 500
WITH_HASH = ("tx", "block")

T = TypeVar("T", TimedAddress, AddressV2)


def choose_addresses(addresses: Sequence[T]) -> tuple[T, ...]:
    """Return at most 1,000 addresses: all in order, or a random choice of more."""
    if len(addresses) <= MAX_ADDRESSES:
        return tuple(addresses)
    return tuple(random.SystemRandom().sample(addresses, MAX_ADDRESSES))


class LocatorRequests:
    """Makes `getblocks` and `getheaders`, but not the same request twice in a row."""

    def __init__(self) -> None:
        self._last: dict[type, tuple[bytes, bytes] | None] = {}

    def get_blocks(self, version: int, locator: Sequence[bytes], stop: bytes) -> GetBlocks | None:
        """Return the message; None if it is the same as the last one.

        Raises:
            ValueError: The locator has more than 500 hashes.
        """
        repeated = self._is_repeated(GetBlocks, locator, stop)
        return None if repeated else GetBlocks(version, tuple(locator), stop)

    def get_headers(self, version: int, locator: Sequence[bytes], stop: bytes) -> GetHeaders | None:
        """Return the message; None if it is the same as the last one.

        Raises:
            ValueError: The locator has more than 500 hashes.
        """
        repeated = self._is_repeated(GetHeaders, locator, stop)
        return None if repeated else GetHeaders(version, tuple(locator), stop)

    def _is_repeated(self, kind: type, locator: Sequence[bytes], stop: bytes) -> bool:
        if len(locator) > MAX_LOCATOR:
            raise ValueError(f"a locator of {len(locator)} hashes, at most {MAX_LOCATOR} allowed")
        request = (locator[0], stop) if locator else None
        is_repeated = request is not None and self._last.get(kind) == request
        self._last[kind] = request
        return is_repeated


def make_reject(command: str, code: int, reason: str, hash: bytes | None) -> Reject:  # noqa: A002
    """Return a `reject`. Only one of `tx` or `block` has a hash, zero if none is given.

    Raises:
        BadRecord: A text cannot be encoded in UTF-8.
    """
    wanted = (hash or bytes(32)) if command in WITH_HASH else None
    return Reject(_encoded("message", command), code, _encoded("reason", reason), wanted)


def _encoded(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BadRecord(f"{text!r} cannot be encoded in UTF-8", name) from error
