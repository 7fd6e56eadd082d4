"""Two peers of ours that talk to each other in memory."""

from __future__ import annotations

from tests.peer.builders import Wired

__all__ = ["talk"]


def talk(one: Wired, other: Wired) -> None:
    """Carry the bytes of two peers to each other until both are silent."""
    done = {one: 0, other: 0}
    moved = True
    while moved:
        moved = False
        for here, there in ((one, other), (other, one)):
            here.read()
            new = here.wire.got[done[here] :]
            done[here] += len(new)
            if new:
                moved = True
                there.wire.arrive(new)
