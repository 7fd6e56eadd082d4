"""When the messages of a recorded client are sent again."""

from __future__ import annotations

import math
import re

import msgspec

__all__ = ["CAUSAL", "STEP", "Pace", "parse_pace"]

RATIO = re.compile(r"([0-9]+(?:\.[0-9]+)?)x?")


class Pace(msgspec.Struct, frozen=True):
    """What a message waits for."""

    ratio: float | None = None
    """Its recorded time, where one second of ours is so many recorded ones; None for no time."""
    steps: bool = False
    """A word of whoever watches."""

    @property
    def is_causal(self) -> bool:
        """Whether it waits for the answers that came before it."""
        return self.ratio is None and not self.steps


CAUSAL = Pace()
STEP = Pace(steps=True)


def parse_pace(text: str) -> Pace:
    """Read `causal`, `recorded`, `step`, or how many times as fast, as `2` or `0.5x`.

    Raises ValueError, which says what there is.
    """
    named = {"causal": CAUSAL, "recorded": Pace(1.0), "step": STEP}
    if text in named:
        return named[text]
    found = RATIO.fullmatch(text)
    ratio = float(found[1]) if found is not None else 0.0
    if not 0 < ratio < math.inf:
        raise ValueError(f"{text!r} is no pace: causal, recorded, step, or a number as 2 or 0.5x")
    return Pace(ratio)
