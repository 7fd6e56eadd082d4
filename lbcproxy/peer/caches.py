"""A set that forgets: of the nonces we sent, of the inventory a node has."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["PROCESS_NONCES", "KnownSet", "NonceCache"]

T = TypeVar("T", bound=Hashable)

NONCES = 50


class KnownSet(Generic[T]):
    """A set by value of at most `most` things; the one not seen for longest goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._things: OrderedDict[T, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._things)

    def add(self, thing: T) -> None:
        """Take something in, or note that it was seen again."""
        self._things[thing] = None
        self._things.move_to_end(thing)
        if len(self._things) > self._most:
            self._things.popitem(last=False)

    def __contains__(self, thing: T) -> bool:
        """Whether it is known; asking counts as seeing it."""
        if thing not in self._things:
            return False
        self._things.move_to_end(thing)
        return True


class NonceCache:
    """The last 50 nonces of the `version` messages we sent, by which we know ourselves.

    Peers of one process share one, and so must those that might be connected to each other; it
    may be used from several threads.
    """

    def __init__(self, most: int = NONCES) -> None:
        self._nonces: KnownSet[int] = KnownSet(most)
        self._lock = threading.Lock()

    def add(self, nonce: int) -> None:
        """Take note of a nonce before it is sent."""
        with self._lock:
            self._nonces.add(nonce)

    def __contains__(self, nonce: int | None) -> bool:
        with self._lock:
            return nonce is not None and nonce in self._nonces


PROCESS_NONCES = NonceCache()
"""The cache that peers use when they are given none."""
