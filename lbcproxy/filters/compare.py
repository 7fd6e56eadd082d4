"""Comparisons: which make sense, and how each is made.

A value that is absent compares with nothing, not even by `!=`. A text to compare with a time, a
hash or a command is read once, when the filter is; one that can never be equal is refused.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

from lbcproxy.filters.combinators import Test, Value, shared
from lbcproxy.filters.errors import meant
from lbcproxy.filters.names import Moment
from lbcproxy.filters.types import ABSENT, COMMAND, Kind
from lbcproxy.patterns import BadPattern, searcher
from lbcproxy.text import any_time
from lbcproxy.wire.registry import OPAQUE, commands

__all__ = ["Nonsense", "comparison", "containment", "known_commands", "matching", "one_of"]

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
ORDERED = ("number", "text", "time", "anything")


class Nonsense(Exception):
    """What is compared cannot be; the text says why. `place` counts characters into a text."""

    def __init__(self, what: str, hint: str = "", place: int | None = None) -> None:
        self.hint = hint
        self.place = place
        super().__init__(what)


def known_commands() -> list[str]:
    """Give every command there is a word for."""
    return sorted({*commands(), *OPAQUE})


def comparison(name: str, left: Value, right: Value) -> Test:
    """Compare two values by `==`, `!=`, `<`, `<=`, `>` or `>=`; raises Nonsense."""
    equal = name in ("==", "!=")
    _fit(left.kind, right.kind, equal=equal)
    if left.constant is not ABSENT and right.constant is ABSENT:
        return comparison(_turned(name), right, left)
    get, other, compare = left.get, right.get, OPERATORS[name]
    where = shared(left.commands, right.commands)
    if right.constant is not ABSENT:
        wanted = literal(right.constant, left.kind, exact=equal)
        if left.kind is COMMAND and name == "==" and wanted is not None:
            where = shared(where, frozenset({wanted}))

        def known(moment: Moment) -> bool:
            value = get(moment)
            if value is ABSENT:
                return False
            try:
                return bool(compare(value, wanted))
            except TypeError:
                return False  # null has no order

        return Test(known, where)

    def both(moment: Moment) -> bool:
        first, second = get(moment), other(moment)
        if first is ABSENT or second is ABSENT:
            return False
        try:
            return bool(compare(first, second))
        except TypeError:
            return False

    return Test(both, where)


def _turned(name: str) -> str:
    return name.translate(str.maketrans("<>", "><"))


def _fit(left: Kind, right: Kind, *, equal: bool) -> None:
    families = (left.family, right.family)
    if "list" in families:
        raise Nonsense(
            "a list is not compared as a whole",
            "ask for its entries: VALUE in LIST, len(LIST) > 3, any(x.FIELD > 3 for x in LIST)",
        )
    if equal and "null" in families:
        return
    if "record" in families:
        raise Nonsense("a record is not compared as a whole", "compare one of its fields")
    if not equal and (wrong := next((each for each in families if each not in ORDERED), None)):
        raise Nonsense(f"{wrong} has no order")
    if left.family != right.family and "anything" not in families and not _is_time(left, right):
        raise Nonsense(f"{left.words} is not compared with {right.words}")


def _is_time(left: Kind, right: Kind) -> bool:
    return {left.family, right.family} == {"time", "text"}


def literal(value: Any, kind: Kind, *, exact: bool) -> Any:
    """Read a constant as what it is compared with; raises Nonsense if that cannot be.

    With `exact`, it is to be equal.
    """
    if not isinstance(value, str):
        return value
    if kind.family == "time":
        return _time(value)
    if kind.hexadecimal:
        if exact and not re.fullmatch(r"[0-9a-fA-F]*", value):
            raise Nonsense(f"{value!r} is not hexadecimal")
        if exact and kind.digits and len(value) != kind.digits:
            raise Nonsense(
                f"{kind.words} has {kind.digits} digits, not {len(value)}",
                f'for its beginning: =~ "^{value[:8]}"',
            )
        return value.lower()
    if exact and kind.choices and value not in kind.choices:
        raise Nonsense(f"{kind.words} is one of {', '.join(kind.choices)}")
    if exact and kind is COMMAND and value not in known_commands():
        raise Nonsense(
            f"no command {value!r}{meant(value, known_commands())}",
            f'if some node does send it: command =~ "^{re.escape(value)}$"',
        )
    return value


def _time(text: str) -> int:
    try:
        return any_time(text)
    except ValueError:
        raise Nonsense(
            f"{text!r} is not a time", 'as "2026-11-23" or "2026-11-23T08:30:00"'
        ) from None


def containment(left: Value, right: Value, negated: bool) -> Test:
    """Look for a value in a list, or for a text in a text; raises Nonsense.

    With `negated`, it is to be missing there; what is absent is not even missing.
    """
    where = shared(left.commands, right.commands)
    if right.kind.family == "list":
        element = right.kind.element
        assert element is not None
        _fit(left.kind, element, equal=True)
        kind, show = element, element.show
    elif right.kind.family == "text":
        if left.kind.family != "text":
            raise Nonsense(f"{left.kind.words} cannot be in {right.kind.words}")
        kind, show = right.kind, None
    else:
        raise Nonsense(f"nothing can be in {right.kind.words}")
    get, entries = left.get, right.get
    if left.constant is not ABSENT:
        wanted = literal(left.constant, kind, exact=right.kind.family == "list")
        get = lambda _: wanted  # noqa: E731  # the same, read once

    def found(moment: Moment) -> bool:
        value, among = get(moment), entries(moment)
        if value is ABSENT or among is ABSENT or among is None:
            return False
        try:
            there = value in among if show is None else any(show(each) == value for each in among)
        except TypeError:
            return False
        return there is not negated

    return Test(found, where)


def one_of(left: Value, values: list[Value], negated: bool) -> Test:
    """Look for a value among constants; raises Nonsense."""
    for each in values:
        _fit(left.kind, each.kind, equal=True)
    wanted = frozenset(literal(each.constant, left.kind, exact=True) for each in values)
    where = left.commands
    if left.kind is COMMAND and None not in wanted and not negated:
        where = shared(where, wanted)
    get = left.get

    def found(moment: Moment) -> bool:
        value = get(moment)
        return value is not ABSENT and (value in wanted) is not negated

    return Test(found, where)


def matching(left: Value, pattern: str) -> Test:
    """Search a text for a regular expression; raises Nonsense."""
    if left.kind.family not in ("text", "anything"):
        hint = "any(x =~ ... for x in LIST)" if left.kind.family == "list" else ""
        raise Nonsense(f"=~ searches texts, not {left.kind.words}", hint)
    try:
        is_in = searcher(pattern, ignore_case=left.kind.hexadecimal)
    except BadPattern as error:
        words = f"not a regular expression: {error}"
        raise Nonsense(words, error.hint, place=error.place) from None
    get = left.get

    def found(moment: Moment) -> bool:
        value = get(moment)
        return isinstance(value, str) and is_in(value)

    return Test(found, left.commands)
