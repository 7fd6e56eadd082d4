"""Two peers of ours that talk to each other in memory."""

from __future__ import annotations

from tests.peer.builders import Wired

__all__ = ["talk"]


def talk(one: Wired, other: Wired, *, portion: int = 1 << 20) -> None:
    """Carry the bytes of two peers to each other, in such portions, until both are silent."""
    done = {one: 0, other: 0}
    moved = True
    while moved:
        moved = False
        for here, there in ((one, other), (other, one)):
            here.read()
            new = here.wire.got[done[here] :]
            done[here] += len(new)
            moved = moved or bool(new)
            for at in range(0, len(new), portion):
                there.wire.arrive(new[at : at + portion])
