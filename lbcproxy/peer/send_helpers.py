"""Messages that are often sent, with what a good neighbour does about them (PEER.md Y)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from lbcproxy.wire.errors import BadRecord
from lbcproxy.wire.messages.addresses import AddressV2, TimedAddress
from lbcproxy.wire.messages.headers import GetBlocks, GetHeaders
from lbcproxy.wire.messages.reject import Reject

__all__ = ["MOST_ADDRESSES", "WITH_HASH", "Questions", "make_reject", "some_of"]

MOST_ADDRESSES = 1000
MOST_LOCATOR = 500
WITH_HASH = ("tx", "block")

T = TypeVar("T", TimedAddress, AddressV2)


def some_of(addresses: Sequence[T]) -> tuple[T, ...]:
    """Give at most 1,000 addresses: all in order, or a fair choice of more."""
    if len(addresses) <= MOST_ADDRESSES:
        return tuple(addresses)
    return tuple(random.SystemRandom().sample(addresses, MOST_ADDRESSES))


class Questions:
    """Makes `getblocks` and `getheaders`, each once: the same question again asks nothing new."""

    def __init__(self) -> None:
        self._asked: dict[type, tuple[bytes, bytes] | None] = {}

    def get_blocks(self, version: int, locator: Sequence[bytes], stop: bytes) -> GetBlocks | None:
        """Make the message, or None if it was the last one; ValueError over 500 hashes."""
        known = self._known(GetBlocks, locator, stop)
        return None if known else GetBlocks(version, tuple(locator), stop)

    def get_headers(self, version: int, locator: Sequence[bytes], stop: bytes) -> GetHeaders | None:
        """Make the message, or None if it was the last one; ValueError over 500 hashes."""
        known = self._known(GetHeaders, locator, stop)
        return None if known else GetHeaders(version, tuple(locator), stop)

    def _known(self, kind: type, locator: Sequence[bytes], stop: bytes) -> bool:
        if len(locator) > MOST_LOCATOR:
            raise ValueError(f"a locator of {len(locator)} hashes, at most {MOST_LOCATOR} allowed")
        question = (locator[0], stop) if locator else None
        if question is not None and self._asked.get(kind) == question:
            return True
        self._asked[kind] = question
        return False


def make_reject(command: str, code: int, reason: str, hash: bytes | None) -> Reject:  # noqa: A002
    """Make a `reject`: with a hash for `tx` and `block` alone, zero if it is missing.

    Raises BadRecord for text that UTF-8 has not.
    """
    wanted = (hash or bytes(32)) if command in WITH_HASH else None
    return Reject(_encoded("message", command), code, _encoded("reason", reason), wanted)


def _encoded(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BadRecord(f"{text!r} cannot be written in UTF-8", name) from error
