"""Have contestants take turns at a work, so that what disturbs the machine meets all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from benchmarks.contestants import Contestant
from benchmarks.measure import Absent
from benchmarks.report import progress

__all__ = ["Turns", "take_turns"]

T = TypeVar("T")


class Turns(Generic[T]):
    """What each contestant has reached, turn by turn, and who could not go on, and why."""

    def __init__(self, contestants: Iterable[Contestant]) -> None:
        self.reached: dict[Contestant, list[T]] = {each: [] for each in contestants}
        self.absent: list[Absent] = []


def take_turns(
    work: str, contestants: Iterable[Contestant], repeats: int, do: Callable[[Contestant], T]
) -> Turns[T]:
    """Do something with each contestant, again and again; whoever fails takes part no longer.

    One that has lost messages, or has ended with an error, has failed: its other figures do not
    count either.
    """
    turns: Turns[T] = Turns(contestants)
    for number in range(1, repeats + 1):
        for contestant, reached in list(turns.reached.items()):
            try:
                reached.append(do(contestant))
            except RuntimeError as error:
                del turns.reached[contestant]
                turns.absent.append(Absent(contestant.who, f"{work}: {_last_line(error)}"))
            else:
                progress(f"{work} {number}/{repeats} {contestant.who}: {_shown(reached[-1])}")
    return turns


def _shown(value: object) -> str:
    return f"{value:,.3g}" if isinstance(value, float) else str(value)


def _last_line(error: Exception) -> str:
    """Return what a program has said last; it follows how it has ended."""
    return (str(error).strip().splitlines() or ["no reason"])[-1]
