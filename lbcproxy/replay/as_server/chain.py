"""The chain of the blocks in a recording, for answering locators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lbcproxy.networks import Network
from lbcproxy.wire.hashes import sha256d

__all__ = ["BlockChain"]

PREVIOUS = slice(4, 36)
"""The bytes of a header that are the previous block's hash, on all networks."""


class BlockChain:
    """Blocks by hash (wire order), each with the previous one and, if known, its header.

    The longest branch is computed on demand.
    """

    def __init__(self, network: Network) -> None:
        self.header_size = len(network.genesis)
        """Size of a header in bytes: 112 on LBRY, 80 on Bitcoin."""
        self.genesis = sha256d(network.genesis)
        self._previous: dict[bytes, bytes] = {}
        self._headers: dict[bytes, bytes] = {self.genesis: network.genesis}
        self._main: list[bytes] | None = None
        self._positions: dict[bytes, int] = {}

    def __contains__(self, block: bytes) -> bool:
        return block in self._headers or block in self._previous

    def add(self, header: bytes) -> bytes:
        """Add a block's header, and return the block's hash."""
        block = sha256d(header)
        self._headers[block] = header
        self.link(block, header[PREVIOUS])
        return block

    def link(self, block: bytes, previous: bytes) -> None:
        """Record which block precedes another."""
        if block not in self._previous and block != self.genesis:
            self._previous[block] = previous
            self._main = None

    def previous(self, block: bytes) -> bytes | None:
        """Return the block before another, or None if it is unknown."""
        return self._previous.get(block)

    @property
    def tip(self) -> bytes | None:
        """The last block of the longest branch, or None if no block is known."""
        main = self._longest()
        return main[-1] if main else None

    def blocks_after(self, locator: Sequence[bytes], stop: bytes, most: int) -> list[bytes] | None:
        """Return the blocks after the first known hash of a locator, up to and including `stop`.

        None if no hash of the locator is known, because then the node's response is unknown.
        Without a locator, `stop` alone.
        """
        if not locator:
            return [stop] if stop in self._headers else None
        main = self._longest()
        position = next((at for block in locator if (at := self._fork(block)) is not None), None)
        if position is None:
            return None
        found = main[position + 1 : position + 1 + most]
        return found[: found.index(stop) + 1] if stop in found else found

    def headers(self, blocks: Sequence[bytes]) -> list[bytes]:
        """Return the headers of blocks, up to the first unknown one."""
        found = []
        for block in blocks:
            if (header := self._headers.get(block)) is None:
                break
            found.append(header)
        return found

    def _fork(self, block: bytes) -> int | None:
        """Return the index on the longest branch at which a block's branch forks off."""
        self._longest()
        for at in self._back_from(block):
            if at in self._positions:
                return self._positions[at]
        return None

    def _longest(self) -> list[bytes]:
        if self._main is None:
            self._main = list(self._back_from(self._deepest()))
            self._main.reverse()
            self._positions = {block: position for position, block in enumerate(self._main)}
        return self._main

    def _deepest(self) -> bytes:
        depths: dict[bytes, int] = {self.genesis: 0}
        best = self.genesis
        for block in self._previous:
            path = []
            for at in self._back_from(block):
                if at in depths:
                    break
                path.append(at)
            depth = depths.get(at, -1)  # where the recording begins
            for each in reversed(path):
                depth += 1
                depths[each] = depth
            if depths[block] > depths[best]:
                best = block
        return best

    def _back_from(self, block: bytes) -> Iterator[bytes]:
        """Yield a block and those before it; recorded claims about them may form a circle."""
        met = set()
        at: bytes | None = block
        while at is not None and at not in met:
            met.add(at)
            yield at
            at = self._previous.get(at)
