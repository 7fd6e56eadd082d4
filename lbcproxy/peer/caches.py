"""Bounded caches: of the nonces we sent, and of the inventory that a node has."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from lbcproxy.deprecated import renamed_parameters

__all__ = ["PROCESS_NONCES", "KnownSet", "NonceCache"]

T = TypeVar("T", bound=Hashable)

MAX_NONCES = 50


class KnownSet(Generic[T]):
    """A bounded set that drops the least recently seen item first.

    Args:
        max_items: How many items it holds, at most.
    """

    def __init__(self, max_items: int) -> None:
        self._max_items = max_items
        self._items: OrderedDict[T, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T) -> None:
        """Add an item, or record that it was seen again."""
        self._items[item] = None
        self._items.move_to_end(item)
        if len(self._items) > self._max_items:
            self._items.popitem(last=False)

    def __contains__(self, item: T) -> bool:
        """Whether an item is known. Asking counts as seeing it."""
        is_known = item in self._items
        if is_known:
            self._items.move_to_end(item)
        return is_known


class NonceCache:
    """The nonces of the last `version` messages we sent, by which we notice self-connections.

    The peers of a process share one, and so must all peers that might be connected to each other.
    It may be used from several threads.

    Args:
        max_nonces: How many nonces it holds, at most.
    """

    @renamed_parameters(most="max_nonces")
    def __init__(self, max_nonces: int = MAX_NONCES) -> None:
        self._nonces: KnownSet[int] = KnownSet(max_nonces)
        self._lock = threading.Lock()

    def add(self, nonce: int) -> None:
        """Record a nonce, before it is sent."""
        with self._lock:
            self._nonces.add(nonce)

    def __contains__(self, nonce: int | None) -> bool:
        with self._lock:
            return nonce is not None and nonce in self._nonces


PROCESS_NONCES = NonceCache()
"""The cache of peers that are given no other."""
