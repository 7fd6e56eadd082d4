"""IP packets that came in fragments, put together.

TCP avoids fragments, so few are ever there. Pieces that overlap and differ are never mixed: the
newer piece begins the packet anew.
"""

__all__ = ["Fragments"]

_MAX_WAITING = 256  # packets, of at most 64 KiB each
_MAX_DONE = 64
_MAX_SIZE = 65_535


class Fragments:
    """Where fragments wait for the rest of their packet."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[bytes, ...], _Pieces] = {}
        self._given_up = 0
        # Of the last packets that were whole: a capture of several cards has each fragment twice.
        self._done: dict[tuple[bytes, ...], bytes] = {}

    def __contains__(self, name: tuple[bytes, ...]) -> bool:
        return name in self._waiting or name in self._done

    @property
    def incomplete(self) -> int:
        """How many packets have some of their fragments, but not all, so far."""
        return self._given_up + len(self._waiting)

    @staticmethod
    def is_sound(place: int, size: int, *, more: bool) -> bool:
        """Whether there can be such a fragment: only the last may end between its units."""
        return 0 < size <= _MAX_SIZE - place and not (more and (place + size) % 8)

    def add(self, name: tuple[bytes, ...], place: int, data: bytes, *, more: bool) -> bytes | None:
        """Take a fragment and give all of its packet's content, once that is here.

        `name` is what the fragments of one packet have in common, `more` whether others follow.
        """
        if not self.is_sound(place, len(data), more=more) or self._is_repeated(name, place, data):
            return None
        pieces = self._waiting.pop(name, None)
        if pieces is not None and not pieces.fits(place, data, more=more):
            pieces, self._given_up = None, self._given_up + 1
        pieces = pieces or _Pieces()
        pieces.put(place, data, more=more)
        whole = pieces.whole()
        if whole is None:
            self._waiting[name] = pieces
            if len(self._waiting) > _MAX_WAITING:
                del self._waiting[next(iter(self._waiting))]
                self._given_up += 1
        else:
            self._done[name] = whole
            if len(self._done) > _MAX_DONE:
                del self._done[next(iter(self._done))]
        return whole

    def _is_repeated(self, name: tuple[bytes, ...], place: int, data: bytes) -> bool:
        """Whether a piece is one of a packet that is whole; systems use names again."""
        whole = self._done.get(name)
        if whole is None or name in self._waiting:
            return False
        if whole[place : place + len(data)] == data:
            return True
        del self._done[name]
        return False


class _Pieces:
    """What there is of one packet."""

    def __init__(self) -> None:
        self._pieces: dict[int, bytes] = {}
        self._size: int | None = None

    def fits(self, place: int, data: bytes, *, more: bool) -> bool:
        """Whether a piece is new or a repetition, and not at odds with the others."""
        end = place + len(data)
        if self._pieces.get(place) == data:
            return more == (self._size != end)
        if self._size is not None and (not more or end > self._size):
            return False
        if not more and any(at + len(each) > end for at, each in self._pieces.items()):
            return False
        return all(end <= at or at + len(each) <= place for at, each in self._pieces.items())

    def put(self, place: int, data: bytes, *, more: bool) -> None:
        self._pieces[place] = data
        if not more:
            self._size = place + len(data)

    def whole(self) -> bytes | None:
        # Pieces do not overlap, so they are whole when they are as many bytes as the packet.
        if self._size is None or sum(map(len, self._pieces.values())) < self._size:
            return None
        return b"".join(data for _, data in sorted(self._pieces.items()))
