"""The parts of a compiled filter: expressions with a value, and conditions made of conditions.

Each part knows for which commands it can have a value or be true. So it is known before a message
has arrived whether its payload will be needed.
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec

from lbcproxy.filters.errors import NotComparable
from lbcproxy.filters.fields import FilterContext, Getter
from lbcproxy.filters.types import ABSENT, NUMBER, Convert, Family, RecordGetter, ValueType
from lbcproxy.wire.partial import NotRead

__all__ = [
    "ARITHMETIC",
    "Clause",
    "Commands",
    "Condition",
    "Expression",
    "Operator",
    "all_of",
    "any_of",
    "attribute",
    "calculated",
    "entry_of",
    "intersection",
    "length",
    "loop",
    "negation",
    "total",
    "union",
]

Commands: TypeAlias = frozenset[str] | None
"""Some commands; None for any command, known or not."""
Predicate: TypeAlias = Callable[[FilterContext], bool]
Operator: TypeAlias = Callable[[Any, Any], Any]
"""A function of two values, as those of the module `operator`."""


class Expression(msgspec.Struct, frozen=True):
    """A part that has a value."""

    type: ValueType
    get: Getter
    commands: Commands = None
    """The commands for which it can have a value; for others it is ABSENT."""
    constant: object = ABSENT
    """Its value if that is always the same; ABSENT if it depends on the entry."""


class Condition(msgspec.Struct, frozen=True):
    """A part that is true or false."""

    is_true: Predicate
    commands: Commands = None
    """The commands for which it can be true."""
    commands_if_false: Commands = None
    """The commands for which it can be false."""


def intersection(first: Commands, second: Commands) -> Commands:
    """Return the intersection of two sets of commands."""
    if first is None or second is None:
        return second if first is None else first
    return first & second


def union(first: Commands, second: Commands) -> Commands:
    """Return the union of two sets of commands."""
    return None if first is None or second is None else first | second


def negation(part: Condition) -> Condition:
    """Return the condition that is true when another is false."""
    inner = part.is_true
    return Condition(lambda context: not inner(context), part.commands_if_false, part.commands)


def all_of(parts: Sequence[Condition]) -> Condition:
    """Return the condition that is true when all are; it evaluates them in order."""
    if len(parts) == 1:
        return parts[0]
    tests = [part.is_true for part in parts]
    return Condition(
        _both(*tests) if len(tests) == 2 else lambda context: all(each(context) for each in tests),
        functools.reduce(intersection, [part.commands for part in parts]),
        functools.reduce(union, [part.commands_if_false for part in parts]),
    )


def any_of(parts: Sequence[Condition]) -> Condition:
    """Return the condition that is true when any is; it evaluates them in order."""
    if len(parts) == 1:
        return parts[0]
    tests = [part.is_true for part in parts]
    return Condition(
        _either(*tests)
        if len(tests) == 2
        else lambda context: any(each(context) for each in tests),
        functools.reduce(union, [part.commands for part in parts]),
        functools.reduce(intersection, [part.commands_if_false for part in parts]),
    )


def _both(one: Predicate, other: Predicate) -> Predicate:
    return lambda context: one(context) and other(context)  # twice as fast as a loop over two


def _either(one: Predicate, other: Predicate) -> Predicate:
    return lambda context: one(context) or other(context)


def attribute(
    owner: Getter,
    get: RecordGetter,
    convert: Convert | None,
) -> Getter:
    """Return a getter of something that a record has; it is absent if the record is.

    It is also absent if the record could not be read that far.
    """

    def value(context: FilterContext) -> object:
        record = owner(context)
        if record is ABSENT or record is None:
            return ABSENT
        try:
            found = get(record, context)
        except NotRead:
            return ABSENT
        return found if convert is None or found is None else convert(found)

    return value


def entry_of(owner: Getter, index: int, value_type: ValueType) -> Getter:
    """Return a getter of one entry of a list; it is absent if the list is too short."""
    convert = value_type.convert

    def value(context: FilterContext) -> object:
        entries = owner(context)
        if entries is ABSENT or entries is None:
            return ABSENT
        try:
            found = entries[index]
        except IndexError:
            return ABSENT
        return found if convert is None else convert(found)

    return value


class Clause(msgspec.Struct, frozen=True):
    """`for VARIABLE in ENTRIES if CONDITION ...`."""

    variable: int
    entries: Getter
    convert: Convert | None
    conditions: tuple[Predicate, ...]


def loop(clauses: Sequence[Clause], element: Callable[[FilterContext], Any]) -> Getter:
    """Return a getter that iterates over nested lists lazily; it is absent if the first list is."""

    def iterate(context: FilterContext, depth: int, entries: Iterable[Any]) -> Iterator[object]:
        clause = clauses[depth]
        variables, slot, convert = context.variables, clause.variable, clause.convert
        for each in entries:
            variables[slot] = each if convert is None else convert(each)
            if not all(condition(context) for condition in clause.conditions):
                continue
            if depth + 1 == len(clauses):
                yield element(context)
            else:
                yield from iterate(context, depth + 1, clauses[depth + 1].entries(context) or ())

    def value(context: FilterContext) -> object:
        entries = clauses[0].entries(context)
        if entries is ABSENT or entries is None:
            return ABSENT
        return iterate(context, 0, entries)

    return value


ARITHMETIC: dict[type[ast.operator], Operator] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


def calculated(sign: type[ast.operator], left: Expression, right: Expression) -> Expression:
    """Return the sum, difference or product of two numbers; raises NotComparable."""
    for side in (left, right):
        if side.type.family is not Family.NUMBER:
            raise NotComparable(f"{side.type.description} is not a number to calculate with")
    calculate = ARITHMETIC[sign]
    if left.constant is not ABSENT and right.constant is not ABSENT:
        result = calculate(left.constant, right.constant)
        return Expression(NUMBER, lambda _: result, constant=result)
    get, other = left.get, right.get

    def value(context: FilterContext) -> object:
        first, second = get(context), other(context)
        missing = first is ABSENT or first is None or second is ABSENT or second is None
        return ABSENT if missing else calculate(first, second)

    return Expression(NUMBER, value, intersection(left.commands, right.commands))


def length(of: Expression) -> Expression:
    """Return the number of entries of a list or characters of a text; raises NotComparable."""
    if of.type.family not in (Family.LIST, Family.TEXT):
        raise NotComparable(f"len() counts a list or a text, not {of.type.description}")
    return _counted(
        of, lambda found: len(found) if hasattr(found, "__len__") else _number_of(found)
    )


def total(of: Expression) -> Expression:
    """Return the sum of the numbers in a list; raises NotComparable."""
    element = of.type.element
    if element is None or element.family is not Family.NUMBER:
        raise NotComparable(
            "sum() adds up numbers", "as sum(output.value for output in tx.outputs)"
        )
    return _counted(of, sum)


def _number_of(found: Iterable[object]) -> int:
    return sum(1 for _ in found)


def _counted(of: Expression, count: Convert) -> Expression:
    get = of.get

    def value(context: FilterContext) -> object:
        found = get(context)
        return ABSENT if found is ABSENT or found is None else count(found)

    return Expression(NUMBER, value, of.commands)
