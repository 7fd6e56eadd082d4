"""How much memory Python holds, whatever else ran in this process before.

What an earlier test left is not counted, and hardly any garbage, which is freed sooner or later.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["grown", "held", "held_after", "most", "peak", "tracing"]


@contextmanager
def tracing() -> Iterator[None]:
    """Trace what is allocated from here on, and have garbage collected early.

    With many old objects, Python waits long until it collects the garbage among new ones: until
    these are a quarter of the old. So the old ones are put aside, and counted again without them.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.collect()
    gc.set_threshold(100, 2, 2)
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def held() -> int:
    """Bytes that were allocated while tracing and are still in use."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def peak() -> int:
    """The most bytes that were in use at a time while tracing."""
    return tracemalloc.get_traced_memory()[1]


def grown(do: Callable[[], Any]) -> int:
    """By how many bytes what Python holds has grown after a call."""
    with tracing():
        do()
        return held()


def most(do: Callable[[], Any]) -> int:
    """By how many bytes it had grown at the worst moment of a call."""
    with tracing():
        do()
        return peak()


def held_after(steps: Iterable[object], *counts: int) -> list[int]:
    """What Python holds after so many steps of one run; all of them are taken."""
    sizes, number = [], 0
    with tracing():
        for number, _ in enumerate(steps, 1):
            if number in counts:
                sizes.append(held())
    assert len(sizes) == len(counts), f"there were {number} steps"
    return sizes
