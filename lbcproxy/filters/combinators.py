"""Parts of a filter, ready to be asked: values, and tests made of other tests.

With each stands for which commands it can be there, or true: so it is known before a message has
come whether its payload will be wanted.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec

from lbcproxy.filters.names import Moment
from lbcproxy.filters.types import ABSENT, Kind
from lbcproxy.wire.partial import NotRead

__all__ = [
    "Clause",
    "Commands",
    "Test",
    "Value",
    "all_of",
    "any_of",
    "attribute",
    "either",
    "entry_of",
    "loop",
    "negation",
    "shared",
]

Commands: TypeAlias = frozenset[str] | None
"""Some commands; None for any, those nobody has heard of too."""
Asked: TypeAlias = Callable[[Moment], bool]


class Value(msgspec.Struct, frozen=True):
    """Something with a value."""

    kind: Kind
    get: Callable[[Moment], Any]
    commands: Commands = None
    """Where it can be there; elsewhere it is ABSENT."""
    constant: Any = ABSENT
    """What it always is; ABSENT if that depends on the entry."""


class Test(msgspec.Struct, frozen=True):
    """Something that is true or false."""

    true: Asked
    commands: Commands = None
    """Where it can be true."""
    failing: Commands = None
    """Where it can be false."""


def shared(first: Commands, second: Commands) -> Commands:
    """Give the commands that are in both."""
    if first is None or second is None:
        return second if first is None else first
    return first & second


def either(first: Commands, second: Commands) -> Commands:
    """Give the commands that are in one of both."""
    return None if first is None or second is None else first | second


def negation(part: Test) -> Test:
    """Give a test that is true where another is false."""
    inner = part.true
    return Test(lambda moment: not inner(moment), part.failing, part.commands)


def all_of(parts: Sequence[Test]) -> Test:
    """Give a test that is true where all are; it asks one after another."""
    if len(parts) == 1:
        return parts[0]
    asked = [part.true for part in parts]
    return Test(
        _two_true(*asked)
        if len(asked) == 2
        else lambda moment: all(each(moment) for each in asked),
        functools.reduce(shared, [part.commands for part in parts]),
        functools.reduce(either, [part.failing for part in parts]),
    )


def any_of(parts: Sequence[Test]) -> Test:
    """Give a test that is true where one is; it asks one after another."""
    if len(parts) == 1:
        return parts[0]
    asked = [part.true for part in parts]
    return Test(
        _one_true(*asked)
        if len(asked) == 2
        else lambda moment: any(each(moment) for each in asked),
        functools.reduce(either, [part.commands for part in parts]),
        functools.reduce(shared, [part.failing for part in parts]),
    )


def _two_true(one: Asked, other: Asked) -> Asked:
    return lambda moment: one(moment) and other(moment)  # twice as fast as a loop over two


def _one_true(one: Asked, other: Asked) -> Asked:
    return lambda moment: one(moment) or other(moment)


def attribute(
    owner: Callable[[Moment], Any],
    get: Callable[[Any, Moment], Any],
    show: Callable[[Any], Any] | None,
) -> Callable[[Moment], Any]:
    """Give what asks a record for something; what an absent record has is absent.

    So is what comes after the place from which a record cannot be read.
    """

    def value(moment: Moment) -> Any:
        record = owner(moment)
        if record is ABSENT or record is None:
            return ABSENT
        try:
            found = get(record, moment)
        except NotRead:
            return ABSENT
        return found if show is None or found is None else show(found)

    return value


def entry_of(owner: Callable[[Moment], Any], index: int, kind: Kind) -> Callable[[Moment], Any]:
    """Give what asks a list for one entry; there is none behind its ends."""
    show = kind.show

    def value(moment: Moment) -> Any:
        entries = owner(moment)
        if entries is ABSENT or entries is None:
            return ABSENT
        try:
            found = entries[index]
        except IndexError:
            return ABSENT
        return found if show is None else show(found)

    return value


class Clause(msgspec.Struct, frozen=True):
    """`for VARIABLE in ENTRIES if CONDITION ...`."""

    variable: int
    entries: Callable[[Moment], Any]
    show: Callable[[Any], Any] | None
    conditions: tuple[Callable[[Moment], bool], ...]


def loop(clauses: Sequence[Clause], element: Callable[[Moment], Any]) -> Callable[[Moment], Any]:
    """Give what goes through lists, one in another, lazily; ABSENT if the first is."""

    def rounds(moment: Moment, depth: int, entries: Any) -> Iterator[Any]:
        clause = clauses[depth]
        variables, slot, show = moment.variables, clause.variable, clause.show
        for each in entries:
            variables[slot] = each if show is None else show(each)
            if not all(condition(moment) for condition in clause.conditions):
                continue
            if depth + 1 == len(clauses):
                yield element(moment)
            else:
                yield from rounds(moment, depth + 1, clauses[depth + 1].entries(moment) or ())

    def value(moment: Moment) -> Any:
        entries = clauses[0].entries(moment)
        if entries is ABSENT or entries is None:
            return ABSENT
        return rounds(moment, 0, entries)

    return value
