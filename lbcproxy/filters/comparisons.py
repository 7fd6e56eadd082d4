"""Comparisons: which types can be compared, and how.

An absent value compares with nothing: even `!=` is false. A text that is compared with a time, a
hash or a command is parsed once, with the filter; one that can never be equal is an error.
"""

from __future__ import annotations

import operator
import re
from typing import cast

from lbcproxy.filters.errors import NotComparable, did_you_mean
from lbcproxy.filters.expressions import Condition, Expression, Operator, intersection
from lbcproxy.filters.fields import FilterContext
from lbcproxy.filters.types import ABSENT, COMMAND, Family, ValueType
from lbcproxy.text import any_time
from lbcproxy.wire.registry import OPAQUE, commands

__all__ = ["comparison", "containment", "known_commands", "matching", "one_of"]

OPERATORS: dict[str, Operator] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
ORDERED = (Family.NUMBER, Family.TEXT, Family.TIME, Family.ANYTHING)


def known_commands() -> list[str]:
    """Return every command that has a name here, in alphabetical order."""
    return sorted({*commands(), *OPAQUE})


def comparison(name: str, left: Expression, right: Expression) -> Condition:
    """Return the condition `left OPERATOR right`; raises NotComparable.

    Args:
        name: `==`, `!=`, `<`, `<=`, `>` or `>=`.
        left: The left side.
        right: The right side.
    """
    equal = name in ("==", "!=")
    _check_types(left.type, right.type, equal=equal)
    if left.constant is not ABSENT and right.constant is ABSENT:
        return comparison(_mirrored(name), right, left)
    get, other, compare = left.get, right.get, OPERATORS[name]
    where = intersection(left.commands, right.commands)
    if right.constant is not ABSENT:
        wanted = literal(right.constant, left.type, exact=equal)
        if left.type is COMMAND and name == "==" and wanted is not None:
            where = intersection(where, frozenset({str(wanted)}))

        def with_constant(context: FilterContext) -> bool:
            value = get(context)
            if value is ABSENT:
                return False
            try:
                return bool(compare(value, wanted))
            except TypeError:
                return False  # null has no order

        return Condition(with_constant, where)

    def with_other(context: FilterContext) -> bool:
        first, second = get(context), other(context)
        if first is ABSENT or second is ABSENT:
            return False
        try:
            return bool(compare(first, second))
        except TypeError:
            return False

    return Condition(with_other, where)


def _mirrored(name: str) -> str:
    return name.translate(str.maketrans("<>", "><"))


def _check_types(left: ValueType, right: ValueType, *, equal: bool) -> None:
    families = (left.family, right.family)
    if Family.LIST in families:
        raise NotComparable(
            "a list cannot be compared as a whole",
            "test its entries: VALUE in LIST, len(LIST) > 3, any(x.FIELD > 3 for x in LIST)",
        )
    if equal and Family.NULL in families:
        return
    if Family.RECORD in families:
        raise NotComparable("a record cannot be compared as a whole", "compare one of its fields")
    if not equal and (wrong := next((each for each in families if each not in ORDERED), None)):
        raise NotComparable(f"{wrong} has no order")
    if (
        left.family is not right.family
        and Family.ANYTHING not in families
        and not _is_time(left, right)
    ):
        raise NotComparable(f"{left.description} cannot be compared with {right.description}")


def _is_time(left: ValueType, right: ValueType) -> bool:
    return {left.family, right.family} == {Family.TIME, Family.TEXT}


def literal(value: object, value_type: ValueType, *, exact: bool) -> object:
    """Convert a constant to the type it is compared with; raises NotComparable.

    With `exact`, the comparison is for equality, so a value that can never be equal is an error.
    """
    if not isinstance(value, str):
        return value
    if value_type.family is Family.TIME:
        return _time(value)
    if value_type.hexadecimal:
        if exact and not re.fullmatch(r"[0-9a-fA-F]*", value):
            raise NotComparable(f"{value!r} is not hexadecimal")
        if exact and value_type.digits and len(value) != value_type.digits:
            raise NotComparable(
                f"{value_type.description} has {value_type.digits} digits, not {len(value)}",
                f'to match its beginning: =~ "^{value[:8]}"',
            )
        return value.lower()
    if exact and value_type.choices and value not in value_type.choices:
        raise NotComparable(f"{value_type.description} is one of {', '.join(value_type.choices)}")
    if exact and value_type is COMMAND and value not in known_commands():
        raise NotComparable(
            f"no command {value!r}{did_you_mean(value, known_commands())}",
            f'if some node does send it: command =~ "^{re.escape(value)}$"',
        )
    return value


def _time(text: str) -> int:
    try:
        return any_time(text)
    except ValueError:
        raise NotComparable(
            f"{text!r} is not a time", 'as "2026-11-23" or "2026-11-23T08:30:00"'
        ) from None


def containment(left: Expression, right: Expression, negated: bool) -> Condition:
    """Return the condition that a list contains a value, or a text a text; raises NotComparable.

    With `negated`, the condition is that it does not; an absent value makes both false.
    """
    where = intersection(left.commands, right.commands)
    if right.type.family is Family.LIST:
        element = right.type.element
        assert element is not None
        _check_types(left.type, element, equal=True)
        value_type, convert = element, element.convert
    elif right.type.family is Family.TEXT:
        if left.type.family is not Family.TEXT:
            raise NotComparable(f"{left.type.description} cannot be in {right.type.description}")
        value_type, convert = right.type, None
    else:
        raise NotComparable(f"{right.type.description} cannot contain anything")
    get, entries = left.get, right.get
    if left.constant is not ABSENT:
        wanted = literal(left.constant, value_type, exact=right.type.family is Family.LIST)
        get = lambda _: wanted  # noqa: E731  # the same value, converted once

    def found(context: FilterContext) -> bool:
        value, among = get(context), entries(context)
        if value is ABSENT or among is ABSENT or among is None:
            return False
        try:
            there = (
                value in among if convert is None else any(convert(each) == value for each in among)
            )
        except TypeError:
            return False
        return there is not negated

    return Condition(found, where)


def one_of(left: Expression, values: list[Expression], negated: bool) -> Condition:
    """Return the condition that a value is one of several constants; raises NotComparable."""
    for each in values:
        _check_types(left.type, each.type, equal=True)
    wanted = frozenset(literal(each.constant, left.type, exact=True) for each in values)
    where = left.commands
    if left.type is COMMAND and None not in wanted and not negated:
        where = intersection(where, cast("frozenset[str]", wanted))
    get = left.get

    def found(context: FilterContext) -> bool:
        value = get(context)
        return value is not ABSENT and (value in wanted) is not negated

    return Condition(found, where)


def matching(left: Expression, pattern: str) -> Condition:
    """Return the condition that a text matches a regular expression; raises NotComparable."""
    if left.type.family not in (Family.TEXT, Family.ANYTHING):
        hint = "any(x =~ ... for x in LIST)" if left.type.family is Family.LIST else ""
        raise NotComparable(f"=~ searches texts, not {left.type.description}", hint)
    from lbcproxy.patterns import BadPattern, searcher  # few filters need RE2

    try:
        is_in = searcher(pattern, ignore_case=left.type.hexadecimal)
    except BadPattern as error:
        what = f"not a regular expression: {error}"
        raise NotComparable(what, error.hint, offset=error.place) from None
    get = left.get

    def found(context: FilterContext) -> bool:
        value = get(context)
        return isinstance(value, str) and is_in(value)

    return Condition(found, left.commands)
