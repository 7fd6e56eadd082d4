"""The chain of blocks that a recording knows: what a node answers a locator from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lbcproxy.networks import Network
from lbcproxy.wire.hashes import sha256d

__all__ = ["Chain"]

PREVIOUS = slice(4, 36)
"""Where a header names the block before it, on all networks."""


class Chain:
    """Blocks by hash (wire order), each with the one before it and, where it was seen, its header.

    What follows on what is worked out when somebody asks, over the longest branch.
    """

    def __init__(self, network: Network) -> None:
        self.header_size = len(network.genesis)
        """Bytes of a header: 112 on LBRY, 80 on Bitcoin."""
        self.genesis = sha256d(network.genesis)
        self._previous: dict[bytes, bytes] = {}
        self._headers: dict[bytes, bytes] = {self.genesis: network.genesis}
        self._main: list[bytes] | None = None
        self._places: dict[bytes, int] = {}

    def __contains__(self, block: bytes) -> bool:
        return block in self._headers or block in self._previous

    def add(self, header: bytes) -> bytes:
        """Take a block's header, and give the block's hash."""
        block = sha256d(header)
        self._headers[block] = header
        self.link(block, header[PREVIOUS])
        return block

    def link(self, block: bytes, previous: bytes) -> None:
        """Take note of which block comes before another."""
        if block not in self._previous and block != self.genesis:
            self._previous[block] = previous
            self._main = None

    def previous(self, block: bytes) -> bytes | None:
        """Return the block before another, None if that was not seen."""
        return self._previous.get(block)

    @property
    def tip(self) -> bytes | None:
        """The last block of the longest branch; None if no block was seen."""
        main = self._longest()
        return main[-1] if main else None

    def behind(self, locator: Sequence[bytes], stop: bytes, most: int) -> list[bytes] | None:
        """Return the blocks behind the first that is known of a locator, `stop` as the last.

        None if nothing of the locator is known: then nobody can tell what the node had said. No
        locator means `stop` alone.
        """
        if not locator:
            return [stop] if stop in self._headers else None
        main = self._longest()
        place = next((at for block in locator if (at := self._fork(block)) is not None), None)
        if place is None:
            return None
        found = main[place + 1 : place + 1 + most]
        return found[: found.index(stop) + 1] if stop in found else found

    def headers(self, blocks: Sequence[bytes]) -> list[bytes]:
        """Return the headers of blocks, up to the first that was not seen."""
        found = []
        for block in blocks:
            if (header := self._headers.get(block)) is None:
                break
            found.append(header)
        return found

    def _fork(self, block: bytes) -> int | None:
        """Return the place on the longest branch from which a block, or its branch, leads off."""
        self._longest()
        for at in self._back_from(block):
            if at in self._places:
                return self._places[at]
        return None

    def _longest(self) -> list[bytes]:
        if self._main is None:
            self._main = list(self._back_from(self._deepest()))
            self._main.reverse()
            self._places = {block: place for place, block in enumerate(self._main)}
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
        """Return a block and those before it; what is told of them may lead in a circle."""
        met = set()
        at: bytes | None = block
        while at is not None and at not in met:
            met.add(at)
            yield at
            at = self._previous.get(at)
