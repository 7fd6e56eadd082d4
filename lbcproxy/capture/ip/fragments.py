"""Reassembly of IP fragments.

TCP avoids fragmentation, so fragments are rare. Fragments that overlap and differ are never mixed:
reassembly of the packet starts again with the newer fragment.
"""

__all__ = ["Fragments"]

MAX_INCOMPLETE = 256
"""Packets that wait for fragments; each has at most 64 KiB."""
MAX_COMPLETE = 64
MAX_SIZE = 65_535


class Fragments:
    """Keeps fragments until their packet is complete."""

    def __init__(self) -> None:
        self._incomplete: dict[tuple[bytes, ...], _Reassembly] = {}
        self._gave_up = 0
        # The last complete packets: a capture of several network cards has each fragment twice.
        self._complete: dict[tuple[bytes, ...], bytes] = {}

    def __contains__(self, name: tuple[bytes, ...]) -> bool:
        return name in self._incomplete or name in self._complete

    @property
    def incomplete(self) -> int:
        """How many packets lack some of their fragments so far."""
        return self._gave_up + len(self._incomplete)

    @staticmethod
    def is_valid(offset: int, size: int, *, more: bool) -> bool:
        """Whether such a fragment can exist: all but the last are multiples of 8 bytes."""
        return 0 < size <= MAX_SIZE - offset and not (more and (offset + size) % 8)

    def add(self, name: tuple[bytes, ...], offset: int, data: bytes, *, more: bool) -> bytes | None:
        """Add a fragment and return the content of its packet, once that is complete.

        Args:
            name: What the fragments of one packet have in common.
            offset: The offset of the fragment in the packet, in bytes.
            data: The content of the fragment.
            more: Whether more fragments follow.
        """
        if not self.is_valid(offset, len(data), more=more) or self._is_repeated(name, offset, data):
            return None
        packet = self._incomplete.pop(name, None)
        if packet is not None and not packet.accepts(offset, data, more=more):
            packet, self._gave_up = None, self._gave_up + 1
        packet = packet or _Reassembly()
        packet.add(offset, data, more=more)
        content = packet.content()
        if content is None:
            self._incomplete[name] = packet
            if len(self._incomplete) > MAX_INCOMPLETE:
                del self._incomplete[next(iter(self._incomplete))]
                self._gave_up += 1
        else:
            self._complete[name] = content
            if len(self._complete) > MAX_COMPLETE:
                del self._complete[next(iter(self._complete))]
        return content

    def _is_repeated(self, name: tuple[bytes, ...], offset: int, data: bytes) -> bool:
        """Whether a fragment belongs to a complete packet; names are reused for other packets."""
        content = self._complete.get(name)
        if content is None or name in self._incomplete:
            return False
        if content[offset : offset + len(data)] == data:
            return True
        del self._complete[name]
        return False


class _Reassembly:
    """The fragments of one packet."""

    def __init__(self) -> None:
        self._fragments: dict[int, bytes] = {}  # by offset
        self._size: int | None = None

    def accepts(self, offset: int, data: bytes, *, more: bool) -> bool:
        """Whether a fragment is new or repeated, and does not contradict the others."""
        end = offset + len(data)
        if self._fragments.get(offset) == data:
            return more == (self._size != end)
        if self._size is not None and (not more or end > self._size):
            return False
        if not more and any(at + len(each) > end for at, each in self._fragments.items()):
            return False
        return all(end <= at or at + len(each) <= offset for at, each in self._fragments.items())

    def add(self, offset: int, data: bytes, *, more: bool) -> None:
        self._fragments[offset] = data
        if not more:
            self._size = offset + len(data)

    def content(self) -> bytes | None:
        # Fragments do not overlap: they are complete if together they have the packet's size.
        if self._size is None or sum(map(len, self._fragments.values())) < self._size:
            return None
        return b"".join(data for _, data in sorted(self._fragments.items()))
