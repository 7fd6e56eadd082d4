"""Counting and calculating."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from lbcproxy.filters.combinators import Value, shared
from lbcproxy.filters.compare import Nonsense
from lbcproxy.filters.names import Moment
from lbcproxy.filters.types import ABSENT, NUMBER

__all__ = ["ARITHMETIC", "calculated", "length", "total"]

ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


def calculated(sign: type[ast.operator], left: Value, right: Value) -> Value:
    """Calculate with two numbers; raises Nonsense."""
    for side in (left, right):
        if side.kind.family != "number":
            raise Nonsense(f"{side.kind.words} is not calculated with")
    calculate = ARITHMETIC[sign]
    if left.constant is not ABSENT and right.constant is not ABSENT:
        result = calculate(left.constant, right.constant)
        return Value(NUMBER, lambda _: result, constant=result)
    get, other = left.get, right.get

    def value(moment: Moment) -> Any:
        first, second = get(moment), other(moment)
        missing = first is ABSENT or first is None or second is ABSENT or second is None
        return ABSENT if missing else calculate(first, second)

    return Value(NUMBER, value, shared(left.commands, right.commands))


def length(of: Value) -> Value:
    """Count the entries of a list or the characters of a text; raises Nonsense."""
    if of.kind.family not in ("list", "text"):
        raise Nonsense(f"len() counts a list or a text, not {of.kind.words}")
    return _counted(of, lambda found: len(found) if hasattr(found, "__len__") else _many(found))


def total(of: Value) -> Value:
    """Add up the numbers of a list; raises Nonsense."""
    element = of.kind.element
    if element is None or element.family != "number":
        raise Nonsense("sum() adds up numbers", "as sum(output.value for output in tx.outputs)")
    return _counted(of, sum)


def _many(found: Any) -> int:
    return sum(1 for _ in found)


def _counted(of: Value, count: Callable[[Any], Any]) -> Value:
    get = of.get

    def value(moment: Moment) -> Any:
        found = get(moment)
        return ABSENT if found is ABSENT or found is None else count(found)

    return Value(NUMBER, value, of.commands)
