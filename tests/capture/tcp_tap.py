"""What taps record of the segments that pass them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from lbcproxy.capture.packet import FIN, RST, SYN
from tests.capture.tcp_network import Passed
from tests.capture.tcp_truth import MS

TAPS = (
    "perfect",
    "disorder",
    "lossy",
    "pauses",
    "middle",
    "client only",
    "server only",
    "any loss",
)
MOST_DISORDER = 8
BURST_NS = 20 * MS
"""Packets that are further apart than this are never exchanged."""


def record(passed: Sequence[Passed], tap: str, chance: random.Random) -> list[Passed]:
    """Return what a tap records of what passes it."""
    if tap == "disorder":
        return _disordered(passed, chance)
    if tap == "lossy":
        return [
            each
            for each in passed
            if each.segment.flags & (SYN | FIN | RST) or chance.random() >= 0.1
        ]
    if tap == "pauses":
        return _paused(passed, chance)
    if tap == "any loss":
        return [each for each in passed if chance.random() >= 0.1]
    if tap == "middle":
        return list(passed[chance.randrange(len(passed)) :])
    if tap.endswith("only"):
        side = 0 if tap == "client only" else 1
        return [each for each in passed if each.side == side]
    return list(passed)


def _paused(passed: Sequence[Passed], chance: random.Random) -> list[Passed]:
    """Return packets without some stretches, as when a recorder has no time for a while."""
    away: set[int] = set()
    for _ in range(chance.randint(1, 3)):
        first = chance.randrange(len(passed))
        away.update(range(first, first + chance.choice((5, 20, 60))))
    return [
        each
        for at, each in enumerate(passed)
        if at not in away or each.segment.flags & (SYN | FIN | RST)
    ]


def _disordered(passed: Sequence[Passed], chance: random.Random) -> list[Passed]:
    """Return packets out of order as network cards with several queues give them: by little."""
    burst, keys = 0, []
    for at, each in enumerate(passed):
        if at and each.time_ns - passed[at - 1].time_ns > BURST_NS:
            burst += 1
        keys.append((burst, at + chance.randint(0, MOST_DISORDER), at))
    return [passed[at] for _, _, at in sorted(keys)]
