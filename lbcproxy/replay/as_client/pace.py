"""When the messages of a recorded client are sent."""

from __future__ import annotations

import math
import re

import msgspec

__all__ = ["CAUSAL", "STEP", "Pace", "parse_pace"]

RATIO = re.compile(r"([0-9]+(?:\.[0-9]+)?)x?")


class Pace(msgspec.Struct, frozen=True):
    """What a message waits for: responses (by default), its recorded time, or a step."""

    ratio: float | None = None
    """Recorded seconds per second, if messages wait for their recorded time; otherwise None."""
    steps: bool = False
    """Whether each message waits for a call of `step`."""

    @property
    def is_causal(self) -> bool:
        """Whether messages only wait for the responses that preceded them."""
        return self.ratio is None and not self.steps


CAUSAL = Pace()
STEP = Pace(steps=True)


def parse_pace(text: str) -> Pace:
    """Return the pace for `causal`, `recorded`, `step`, or a speed such as `2` or `0.5x`.

    Raises:
        ValueError: For any other text.
    """
    named = {"causal": CAUSAL, "recorded": Pace(1.0), "step": STEP}
    if text in named:
        return named[text]
    found = RATIO.fullmatch(text)
    ratio = float(found[1]) if found is not None else 0.0
    if not 0 < ratio < math.inf:
        raise ValueError(
            f"{text!r} is not a pace: causal, recorded, step, or a number such as 2 or 0.5x"
        )
    return Pace(ratio)
