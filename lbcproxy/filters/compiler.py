"""From a syntax tree to parts that can be asked: what each name means, and what makes no sense.

Whatever is not listed here is refused: a filter can look at an entry, and do nothing else.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import msgspec

from lbcproxy.filters.combinators import (
    Clause,
    Test,
    Value,
    all_of,
    any_of,
    attribute,
    entry_of,
    loop,
    negation,
)
from lbcproxy.filters.compare import (
    comparison,
    containment,
    known_commands,
    matching,
    one_of,
)
from lbcproxy.filters.derived import members_of
from lbcproxy.filters.errors import BadFilter, meant
from lbcproxy.filters.names import NAMES, Moment
from lbcproxy.filters.numbers import ARITHMETIC, calculated, length, total
from lbcproxy.filters.parser import raw_text
from lbcproxy.filters.positions import Places
from lbcproxy.filters.types import (
    ABSENT,
    ANYTHING,
    BOOL,
    NULL,
    NUMBER,
    TEXT,
    Kind,
    Member,
    list_of,
    record_kind,
)
from lbcproxy.networks import Network
from lbcproxy.wire.registry import record_of

__all__ = ["FUNCTIONS", "WORDS", "Reader"]

FUNCTIONS = ("any", "all", "len", "sum")
WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}
_SIGNS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_LISTS = (ast.Tuple, ast.List, ast.Set)
_LOOPS = (ast.GeneratorExp, ast.ListComp)
_TESTS = (ast.BoolOp, ast.Compare)


class Reader(Places):
    """Makes a test of the tree of one filter."""

    def __init__(self, text: str, network: Network | None) -> None:
        self.decodes = False
        """Whether a payload must be read."""
        self.variables = 0
        """How many names its loops have."""
        super().__init__(text)
        self._network = network
        self._scope: dict[str, tuple[Kind, int]] = {}

    def test(self, node: ast.expr) -> Test:
        """Read what is true or false."""
        if isinstance(node, ast.BoolOp):
            parts = [self.test(each) for each in node.values]
            return all_of(parts) if isinstance(node.op, ast.And) else any_of(parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return negation(self.test(node.operand))
        if isinstance(node, ast.Compare):
            return self._comparisons(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            return self._match(node)
        if isinstance(node, ast.Name) and self._is_command(node.id):
            return _command_test(node.id)
        if _called(node) in ("any", "all"):
            assert isinstance(node, ast.Call)
            return self._quantified(node, node.func.id)  # type: ignore[attr-defined]
        value = self.value(node)
        if value.constant is not ABSENT:
            if not isinstance(value.constant, bool):
                raise self.wrong(node, f"{value.kind.words} alone is neither true nor false")
            return _always(value.constant)
        return _truth(value)

    def value(self, node: ast.expr) -> Value:
        """Read what has a value."""
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Subscript):
            return self._entry(node)
        if isinstance(node, _LOOPS):
            return self._loop(node)
        if isinstance(node, _LISTS):
            return self._written(self._constants(node))
        if _called(node) in ("len", "sum"):
            assert isinstance(node, ast.Call)
            return self._counted(node, _called(node))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return self.sensible(
                node, calculated, ast.Sub, _fixed(NUMBER, 0), self.value(node.operand)
            )
        if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
            sides = self.value(node.left), self.value(node.right)
            return self.sensible(node, calculated, type(node.op), *sides)
        if self._is_test(node):
            part = self.test(node)
            return Value(BOOL, part.true)
        raise self._strange(node)

    def _is_test(self, node: ast.expr) -> bool:
        negated = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        matched = isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)
        return isinstance(node, _TESTS) or negated or matched or _called(node) in ("any", "all")

    def _is_command(self, name: str) -> bool:
        return name not in self._scope and name not in NAMES and name in known_commands()

    # -- names and what is behind their dots

    def _constant(self, node: ast.Constant) -> Value:
        kinds = {str: TEXT, int: NUMBER, float: NUMBER, bool: BOOL, type(None): NULL}
        kind = kinds.get(type(node.value))
        if kind is None:
            raise self.wrong(node, "this kind of value is not known to filters")
        return _fixed(kind, node.value)

    def _name(self, node: ast.Name) -> Value:
        name = node.id
        if name in self._scope:
            kind, slot = self._scope[name]
            return Value(kind, lambda moment: moment.variables[slot])
        if name in WORDS:
            return _fixed(NULL if WORDS[name] is None else BOOL, WORDS[name])
        if name in NAMES:
            known = NAMES[name]
            self.decodes = self.decodes or known.decodes
            return Value(known.kind, known.get)
        if self._is_command(name):
            record = record_of(name)
            fields = [] if record is None else [f"{name}.{each}" for each in members_of(record)]
            hint = " or ".join([*fields[:1], f'"{name}"'])
            raise self.wrong(node, f"{name} is a command, not a value", f"write {hint}")
        raise self._unknown(node)

    def _unknown(self, node: ast.Name) -> BadFilter:
        name = node.id
        known_names = [*NAMES, *self._scope, *known_commands(), *FUNCTIONS, *WORDS]
        return self.wrong(
            node,
            f"no name {name!r}{meant(name, known_names)}",
            "a text stands in quotes, and the whole filter in others: 'command == \"inv\"'",
        )

    def _attribute(self, node: ast.Attribute) -> Value:
        owner = self._owner(node.value)
        if owner.kind.family == "list":
            raise self._no_field(node, "a list", f"any(x.{node.attr} == VALUE for x in LIST)")
        if owner.kind.record is None:
            raise self._no_field(node, owner.kind.words, "")
        member = self._member(node, owner.kind.record)
        get = attribute(owner.get, member.get, member.kind.show)
        return Value(member.kind, get, owner.commands)

    def _owner(self, node: ast.expr) -> Value:
        """Read what stands before a dot, where a command stands for its record."""
        if not isinstance(node, ast.Name) or not self._is_command(node.id):
            return self.value(node)
        command = node.id
        record = record_of(command)
        if record is None:
            raise self.wrong(node, f"{command} is known, but passes unread: it has no fields")
        self.decodes = True

        def get(moment: Moment) -> Any:
            message = moment.entry.message
            if message is None or message.command != command:
                return ABSENT
            return message.partial if message.record is None else message.record

        return Value(record_kind(record), get, frozenset({command}))

    def _member(self, node: ast.Attribute, record: type) -> Member:
        members = members_of(record)
        member = members.get(node.attr)
        if member is None:
            near = meant(node.attr, members)
            others = f"there are {', '.join(members)}" if members else "there are none"
            raise self._no_field(node, ast.unparse(node.value), others, near)
        network = self._network
        if network is not None and not network.has(member.rule):
            raise self.wrong_at(self.end(node.value), f"{network.id} has no {node.attr}")
        return member

    def _entry(self, node: ast.Subscript) -> Value:
        owner = self.value(node.value)
        element = owner.kind.element
        if element is None or isinstance(node.value, _LOOPS):
            raise self.wrong(node.value, f"{owner.kind.words} has no entries by number")
        index = self.value(node.slice) if not isinstance(node.slice, ast.Slice) else None
        if index is None or type(index.constant) is not int:
            raise self.wrong(node.slice, "an entry is asked for by its number, from 0")
        return Value(element, entry_of(owner.get, index.constant, element), owner.commands)

    def _constants(self, node: ast.Tuple | ast.List | ast.Set) -> list[Value]:
        """Read a list that is written out."""
        found = [self.value(each) for each in node.elts]
        for each, value in zip(node.elts, found, strict=True):
            if value.constant is ABSENT or value.kind.family == "list":
                raise self.wrong(each, "a list that is written out holds numbers and texts")
        return found

    def _written(self, values: list[Value]) -> Value:
        kinds = {value.kind.family: value.kind for value in values}
        kind = next(iter(kinds.values())) if len(kinds) == 1 else ANYTHING
        return _fixed(list_of(kind), tuple(value.constant for value in values))

    # -- loops

    def _loop(self, node: ast.expr, whole: Callable[[ast.expr], Any] | None = None) -> Value:
        """Read `ELEMENT for NAME in LIST ...`; `whole` reads the element, if it is no value."""
        assert isinstance(node, ast.GeneratorExp | ast.ListComp)
        outside = dict(self._scope)
        clauses, where = [], None
        for index, each in enumerate(node.generators):
            entries = self.value(each.iter)
            if entries.kind.element is None:
                raise self.wrong(each.iter, f"{entries.kind.words} has no entries")
            if not isinstance(each.target, ast.Name):
                raise self.wrong(each.target, "a loop has one name")
            where = entries.commands if index == 0 else where
            slot, kind = self.variables, entries.kind.element
            self.variables += 1
            self._scope[each.target.id] = (kind, slot)
            conditions = tuple(self.test(condition).true for condition in each.ifs)
            clauses.append(Clause(slot, entries.get, kind.show, conditions))
        if whole is None:
            element = self.value(node.elt)
            # Its values have been shown: whoever looks into the list must not do that again.
            kind, get = msgspec.structs.replace(element.kind, show=None), element.get
        else:
            kind, get = BOOL, whole(node.elt).true
        self._scope = outside
        return Value(list_of(kind), loop(clauses, get), where)

    def _quantified(self, node: ast.Call, name: str) -> Test:
        argument = self._argument(node, name)
        of_all = name == "all"
        if isinstance(argument, _LOOPS):
            values = self._loop(argument, self.test)
        else:
            values = self.value(argument)
            if values.kind.family != "list":
                raise self.wrong(argument, f"{name}() wants a list, as any(x > 3 for x in LIST)")
        get = values.get

        def true(moment: Moment) -> bool:
            found = get(moment)
            if found is ABSENT or found is None:
                return False
            return all(found) if of_all else any(found)

        return Test(true, values.commands)

    def _counted(self, node: ast.Call, name: str) -> Value:
        argument = self._argument(node, name)
        return self.sensible(argument, total if name == "sum" else length, self.value(argument))

    def _argument(self, node: ast.Call, name: str) -> ast.expr:
        if len(node.args) != 1 or node.keywords or isinstance(node.args[0], ast.Starred):
            raise self.wrong(node, f"{name}() wants one list")
        return node.args[0]

    # -- comparisons

    def _comparisons(self, node: ast.Compare) -> Test:
        sides = [node.left, *node.comparators]
        return all_of(
            [
                self._comparison(sides[index], op, sides[index + 1])
                for index, op in enumerate(node.ops)
            ]
        )

    def _comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Test:
        if type(op) in _SIGNS:
            first, second = self.value(left), self.value(right)
            return self.sensible(right, comparison, _SIGNS[type(op)], first, second)
        if isinstance(op, ast.Is | ast.IsNot):
            raise self.wrong(right, "`is` is not understood", "`==` and `!=` compare")
        value, negated = self.value(left), isinstance(op, ast.NotIn)
        if isinstance(right, _LISTS):
            return self.sensible(right, one_of, value, self._constants(right), negated)
        return self.sensible(right, containment, value, self.value(right), negated)

    def _match(self, node: ast.BinOp) -> Test:
        pattern = node.right
        if not isinstance(pattern, ast.Constant) or not isinstance(pattern.value, str):
            raise self.wrong(pattern, "behind =~ stands a pattern in quotes")
        raw = raw_text(pattern, self.text)
        return self.sensible(pattern, matching, self.value(node.left), raw)

    def _strange(self, node: ast.expr) -> BadFilter:
        called = _called(node)
        if not called:
            return self.wrong(node, "this is not understood in a filter")
        what = f"no function {called!r}{meant(called, FUNCTIONS)}"
        return self.wrong(node, what, f"there are {', '.join(FUNCTIONS)}")

    def _no_field(self, node: ast.Attribute, whose: str, hint: str, near: str = "") -> BadFilter:
        what = f"{whose} has no field {node.attr!r}{near}"
        return self.wrong_at(self.end(node.value), what, hint)


def _called(node: ast.expr) -> str:
    """Give the name of the function a node calls; empty if it calls none."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id
    return ""


def _fixed(kind: Kind, value: Any) -> Value:
    return Value(kind, lambda _: value, constant=value)


def _always(value: bool) -> Test:
    nowhere: frozenset[str] = frozenset()
    return Test(lambda _: value, None if value else nowhere, nowhere if value else None)


def _command_test(command: str) -> Test:
    def true(moment: Moment) -> bool:
        return moment.entry.command == command

    return Test(true, frozenset({command}))


def _truth(value: Value) -> Test:
    """Take a value for true if it is there and is not empty, null or zero."""
    get = value.get
    if value.kind.family == "record":  # one without fields is there all the same
        nothing = (ABSENT, None)
        return Test(lambda moment: get(moment) not in nothing, value.commands)
    return Test(lambda moment: bool(get(moment)), value.commands)
