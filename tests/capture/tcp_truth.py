"""What truly happened on the connections of a model: the measure of a reader of captures."""

from __future__ import annotations

WRAP = 1 << 32
MS = 1_000_000
SECOND = 1_000_000_000


def signed(distance: int) -> int:
    """Return a difference of sequence numbers as the nearest one, before or after."""
    return (distance + (WRAP >> 1)) % WRAP - (WRAP >> 1)


class Connection:
    """What truly happened on a connection; lists hold the client's side first, then the server's.

    The client's entry of `got` and `finished` is about what the client sent and the server took.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.sent = (bytearray(), bytearray())
        self.got = [0, 0]
        """How many bytes of each stream the application at the other end got."""
        self.finished = [False, False]
        """Whether the other end took the FIN, after all bytes."""
        self.closed = [False, False]
        """Whether a FIN was sent; it counts as a byte, also for who does not see it."""
        self.initial: list[int | None] = [None, None]
        self.resets: set[int] = set()
        """The sides from which an RST came that an end obeyed."""
        self.broken = False
        """Whether a side gave up or vanished, so that bytes on their way had no receiver."""
        self.established = False
        self.mixed = False
        """Whether an end took something of another connection: then there is no truth."""
        self.tap_next = [0, 0]
        """Up to where each stream has passed the tap without a hole."""
        self.tap_ahead: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def place_of(self, side: int, sequence: int) -> int:
        """Return the place in a stream that a sequence number means."""
        initial = self.initial[side]
        assert initial is not None
        return signed(sequence - initial - 1)

    def passes(self, side: int, place: int, size: int) -> None:
        """Note that bytes pass the tap."""
        ahead, at = self.tap_ahead[side], self.tap_next[side]
        if place > at:
            ahead[place] = max(ahead.get(place, 0), size)
            return
        at = max(at, place + size)
        while ahead and min(ahead) <= at:
            first = min(ahead)
            at = max(at, first + ahead.pop(first))
        self.tap_next[side] = at
