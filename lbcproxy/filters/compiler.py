"""The compiler: from a syntax tree to conditions that can be evaluated.

Anything that is not listed here is an error: a filter can look at an entry and do nothing else.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

import msgspec

from lbcproxy.filters.comparisons import (
    comparison,
    containment,
    known_commands,
    matching,
    one_of,
)
from lbcproxy.filters.errors import BadFilter, ErrorLocator, did_you_mean
from lbcproxy.filters.expressions import (
    ARITHMETIC,
    Clause,
    Condition,
    Expression,
    all_of,
    any_of,
    attribute,
    calculated,
    entry_of,
    length,
    loop,
    negation,
    total,
)
from lbcproxy.filters.fields import ENTRY_FIELDS, FilterContext, members_of
from lbcproxy.filters.parser import raw_text
from lbcproxy.filters.types import (
    ABSENT,
    ANYTHING,
    BOOL,
    NULL,
    NUMBER,
    TEXT,
    Family,
    RecordField,
    ValueType,
    list_of,
    record_type,
)
from lbcproxy.networks import Network
from lbcproxy.wire.registry import record_of

__all__ = ["FUNCTIONS", "LITERALS", "Compiler"]

FUNCTIONS = ("any", "all", "len", "sum")
LITERALS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
_OPERATORS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_LISTS = (ast.Tuple, ast.List, ast.Set)
_LOOPS = (ast.GeneratorExp, ast.ListComp)
_CONDITIONS = (ast.BoolOp, ast.Compare)


class Compiler(ErrorLocator):
    """Makes a condition of the syntax tree of one filter."""

    def __init__(self, text: str, network: Network | None) -> None:
        self.decodes = False
        """Whether the filter needs the decoded payload."""
        self.variables = 0
        """The number of variables in its loops."""
        super().__init__(text)
        self._network = network
        self._scope: dict[str, tuple[ValueType, int]] = {}

    def condition(self, node: ast.expr) -> Condition:
        """Compile a node that is true or false."""
        if isinstance(node, ast.BoolOp):
            parts = [self.condition(each) for each in node.values]
            return all_of(parts) if isinstance(node.op, ast.And) else any_of(parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return negation(self.condition(node.operand))
        if isinstance(node, ast.Compare):
            return self._comparisons(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            return self._match(node)
        if isinstance(node, ast.Name) and self._is_command(node.id):
            return _command_is(node.id)
        if _called(node) in ("any", "all"):
            assert isinstance(node, ast.Call)
            return self._quantified(node, node.func.id)  # type: ignore[attr-defined]
        value = self.value(node)
        if value.constant is not ABSENT:
            if not isinstance(value.constant, bool):
                raise self.error(node, f"{value.type.description} alone is neither true nor false")
            return _always(value.constant)
        return _truth(value)

    def value(self, node: ast.expr) -> Expression:
        """Compile a node that has a value."""
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
            return self._literal_list(self._constants(node))
        if _called(node) in ("len", "sum"):
            assert isinstance(node, ast.Call)
            return self._counted(node, _called(node))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return self.located(
                node, calculated, ast.Sub, _constant(NUMBER, 0), self.value(node.operand)
            )
        if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
            sides = self.value(node.left), self.value(node.right)
            return self.located(node, calculated, type(node.op), *sides)
        if self._is_condition(node):
            part = self.condition(node)
            return Expression(BOOL, part.is_true)
        raise self._not_understood(node)

    def _is_condition(self, node: ast.expr) -> bool:
        negated = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        matched = isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)
        return (
            isinstance(node, _CONDITIONS) or negated or matched or _called(node) in ("any", "all")
        )

    def _is_command(self, name: str) -> bool:
        return name not in self._scope and name not in ENTRY_FIELDS and name in known_commands()

    # -- names and attributes

    def _constant(self, node: ast.Constant) -> Expression:
        types = {str: TEXT, int: NUMBER, float: NUMBER, bool: BOOL, type(None): NULL}
        value_type = types.get(type(node.value))
        if value_type is None:
            raise self.error(node, "this type of value is not known to filters")
        return _constant(value_type, node.value)

    def _name(self, node: ast.Name) -> Expression:
        name = node.id
        if name in self._scope:
            value_type, slot = self._scope[name]
            return Expression(value_type, lambda context: context.variables[slot])
        if name in LITERALS:
            return _constant(NULL if LITERALS[name] is None else BOOL, LITERALS[name])
        if name in ENTRY_FIELDS:
            known = ENTRY_FIELDS[name]
            self.decodes = self.decodes or known.decodes
            return Expression(known.type, known.get)
        if self._is_command(name):
            record = record_of(name)
            fields = [] if record is None else [f"{name}.{each}" for each in members_of(record)]
            hint = " or ".join([*fields[:1], f'"{name}"'])
            raise self.error(node, f"{name} is a command, not a value", f"write {hint}")
        raise self._unknown(node)

    def _unknown(self, node: ast.Name) -> BadFilter:
        name = node.id
        known_names = [*ENTRY_FIELDS, *self._scope, *known_commands(), *FUNCTIONS, *LITERALS]
        return self.error(
            node,
            f"no name {name!r}{did_you_mean(name, known_names)}",
            "a text is in quotes, and the whole filter in other quotes: 'command == \"inv\"'",
        )

    def _attribute(self, node: ast.Attribute) -> Expression:
        owner = self._owner(node.value)
        if owner.type.family is Family.LIST:
            raise self._no_field(node, "a list", f"any(x.{node.attr} == VALUE for x in LIST)")
        if owner.type.record is None:
            raise self._no_field(node, owner.type.description, "")
        member = self._member(node, owner.type.record)
        get = attribute(owner.get, member.get, member.type.convert)
        return Expression(member.type, get, owner.commands)

    def _owner(self, node: ast.expr) -> Expression:
        """Compile what is before a dot; a command means its record there."""
        if not isinstance(node, ast.Name) or not self._is_command(node.id):
            return self.value(node)
        command = node.id
        record = record_of(command)
        if record is None:
            raise self.error(node, f"{command} is known, but is not decoded: it has no fields")
        self.decodes = True

        def get(context: FilterContext) -> object:
            message = context.entry.message
            if message is None or message.command != command:
                return ABSENT
            return message.partial if message.record is None else message.record

        return Expression(record_type(record), get, frozenset({command}))

    def _member(self, node: ast.Attribute, record: type) -> RecordField:
        members = members_of(record)
        member = members.get(node.attr)
        if member is None:
            near = did_you_mean(node.attr, members)
            others = f"there are {', '.join(members)}" if members else "there are none"
            raise self._no_field(node, ast.unparse(node.value), others, near)
        network = self._network
        if network is not None and not network.has(member.rule):
            raise self.error_at(
                self.attribute_offset(node.value), f"{network.id} has no {node.attr}"
            )
        return member

    def _entry(self, node: ast.Subscript) -> Expression:
        owner = self.value(node.value)
        element = owner.type.element
        if element is None or isinstance(node.value, _LOOPS):
            raise self.error(node.value, f"{owner.type.description} has no entries by number")
        index = self.value(node.slice) if not isinstance(node.slice, ast.Slice) else None
        if index is None or type(index.constant) is not int:
            raise self.error(node.slice, "the index of an entry is a number, from 0")
        return Expression(element, entry_of(owner.get, index.constant, element), owner.commands)

    def _constants(self, node: ast.Tuple | ast.List | ast.Set) -> list[Expression]:
        """Compile a literal list."""
        found = [self.value(each) for each in node.elts]
        for each, value in zip(node.elts, found, strict=True):
            if value.constant is ABSENT or value.type.family is Family.LIST:
                raise self.error(each, "a literal list contains numbers and texts")
        return found

    def _literal_list(self, values: list[Expression]) -> Expression:
        types = {value.type.family: value.type for value in values}
        value_type = next(iter(types.values())) if len(types) == 1 else ANYTHING
        return _constant(list_of(value_type), tuple(value.constant for value in values))

    # -- loops

    def _loop(
        self, node: ast.expr, condition: Callable[[ast.expr], Condition] | None = None
    ) -> Expression:
        """Compile `ELEMENT for NAME in LIST ...`; `condition` compiles an element that is one."""
        assert isinstance(node, ast.GeneratorExp | ast.ListComp)
        outside = dict(self._scope)
        clauses, where = [], None
        for index, each in enumerate(node.generators):
            entries = self.value(each.iter)
            if entries.type.element is None:
                raise self.error(each.iter, f"{entries.type.description} has no entries")
            if not isinstance(each.target, ast.Name):
                raise self.error(each.target, "a loop has one name")
            where = entries.commands if index == 0 else where
            slot, element_type = self.variables, entries.type.element
            self.variables += 1
            self._scope[each.target.id] = (element_type, slot)
            conditions = tuple(self.condition(test).is_true for test in each.ifs)
            clauses.append(Clause(slot, entries.get, element_type.convert, conditions))
        if condition is None:
            element = self.value(node.elt)
            # Its values are converted already: reading the list must not convert them again.
            result, get = msgspec.structs.replace(element.type, convert=None), element.get
        else:
            result, get = BOOL, condition(node.elt).is_true
        self._scope = outside
        return Expression(list_of(result), loop(clauses, get), where)

    def _quantified(self, node: ast.Call, name: str) -> Condition:
        argument = self._argument(node, name)
        of_all = name == "all"
        if isinstance(argument, _LOOPS):
            values = self._loop(argument, self.condition)
        else:
            values = self.value(argument)
            if values.type.family is not Family.LIST:
                raise self.error(argument, f"{name}() takes a list, as any(x > 3 for x in LIST)")
        get = values.get

        def is_true(context: FilterContext) -> bool:
            found = get(context)
            if found is ABSENT or found is None:
                return False
            return all(found) if of_all else any(found)

        return Condition(is_true, values.commands)

    def _counted(self, node: ast.Call, name: str) -> Expression:
        argument = self._argument(node, name)
        return self.located(argument, total if name == "sum" else length, self.value(argument))

    def _argument(self, node: ast.Call, name: str) -> ast.expr:
        if len(node.args) != 1 or node.keywords or isinstance(node.args[0], ast.Starred):
            raise self.error(node, f"{name}() takes one list")
        return node.args[0]

    # -- comparisons

    def _comparisons(self, node: ast.Compare) -> Condition:
        sides = [node.left, *node.comparators]
        return all_of(
            [
                self._comparison(sides[index], op, sides[index + 1])
                for index, op in enumerate(node.ops)
            ]
        )

    def _comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Condition:
        if type(op) in _OPERATORS:
            first, second = self.value(left), self.value(right)
            return self.located(right, comparison, _OPERATORS[type(op)], first, second)
        if isinstance(op, ast.Is | ast.IsNot):
            raise self.error(right, "`is` is not understood", "`==` and `!=` compare")
        value, negated = self.value(left), isinstance(op, ast.NotIn)
        if isinstance(right, _LISTS):
            return self.located(right, one_of, value, self._constants(right), negated)
        return self.located(right, containment, value, self.value(right), negated)

    def _match(self, node: ast.BinOp) -> Condition:
        pattern = node.right
        if not isinstance(pattern, ast.Constant) or not isinstance(pattern.value, str):
            raise self.error(pattern, "after =~ a pattern in quotes is expected")
        raw = raw_text(pattern, self.text)
        return self.located(pattern, matching, self.value(node.left), raw)

    def _not_understood(self, node: ast.expr) -> BadFilter:
        called = _called(node)
        if not called:
            return self.error(node, "this is not understood in a filter")
        what = f"no function {called!r}{did_you_mean(called, FUNCTIONS)}"
        return self.error(node, what, f"there are {', '.join(FUNCTIONS)}")

    def _no_field(self, node: ast.Attribute, whose: str, hint: str, near: str = "") -> BadFilter:
        what = f"{whose} has no field {node.attr!r}{near}"
        return self.error_at(self.attribute_offset(node.value), what, hint)


def _called(node: ast.expr) -> str:
    """Return the name of the function that a node calls; empty if it calls none."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id
    return ""


def _constant(value_type: ValueType, value: object) -> Expression:
    return Expression(value_type, lambda _: value, constant=value)


def _always(value: bool) -> Condition:
    never: frozenset[str] = frozenset()
    return Condition(lambda _: value, None if value else never, never if value else None)


def _command_is(command: str) -> Condition:
    def is_true(context: FilterContext) -> bool:
        return context.entry.command == command

    return Condition(is_true, frozenset({command}))


def _truth(value: Expression) -> Condition:
    """Return the condition that a value is present and is not empty, null or zero."""
    get = value.get
    if value.type.family is Family.RECORD:  # a record without fields is present too
        nothing = (ABSENT, None)
        return Condition(lambda context: get(context) not in nothing, value.commands)
    return Condition(lambda context: bool(get(context)), value.commands)
