"""The small changes that can be made to a module, for `script/mutate`."""

from __future__ import annotations

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

__all__ = ["Change", "Equivalent", "Key", "Source", "read_equivalents", "sample"]

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}

Key: TypeAlias = tuple[str, str, str]
"""What names a change: its place, the first line of what is changed, and the change."""
LOGGERS = ("log", "_log", "logger", "_logger")


class Equivalent(NamedTuple):
    """A change that changes nothing, as a file of `tests/mutants` lists it."""

    place: str
    """`lbcproxy/wire/framer.py Framer.feed`: the file, and the class or function if any."""
    line: str
    """The first line of what is changed, without its indentation."""
    change: str
    reason: str

    @property
    def key(self) -> Key:
        """What names the change."""
        return self.place, self.line, self.change

    @property
    def path(self) -> Path:
        """The module."""
        return Path(self.place.partition(" ")[0])


class Change(NamedTuple):
    """A part of a module's source, and what takes its place."""

    path: Path
    start: int
    end: int
    """Offsets in the source's bytes."""
    number: int
    """Of its line."""
    place: str
    line: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.path}:{self.number}: {self.change}"

    @property
    def change(self) -> str:
        """What was there, and what took its place."""
        return f"{' '.join(self.old.split())} -> {self.new}"

    @property
    def key(self) -> Key:
        """What names it in a file of `tests/mutants`."""
        return self.place, self.line, self.change


class Source:
    """A module's source, and the changes that can be made to it."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self.data = (root / path).read_bytes()
        self._lines = self.data.decode().splitlines()
        self._starts = [0]
        for line in self.data.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def changes(self) -> list[Change]:
        """Return every change, in the order of the source."""
        tree = ast.parse(self.data)
        found = [self._change(names, *pair) for names, node in _code(tree) for pair in _new(node)]
        return sorted(each for each in found if each.old != each.new)

    def with_change(self, change: Change) -> bytes:
        """Return the source with a change made."""
        text = change.new.encode()
        if not text.startswith((b"return", b"pass", b"break", b"continue")):
            text = b"(" + text + b")"  # precedence stays what the tree says
        return self.data[: change.start] + text + self.data[change.end :]

    def _change(
        self, names: Sequence[str], node: ast.expr | ast.stmt, new: ast.expr | ast.stmt
    ) -> Change:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        end = self._starts[node.end_lineno - 1] + node.end_col_offset
        old, line = self.data[start:end].decode(), self._lines[node.lineno - 1].strip()
        place = f"{self.path} {'.'.join(names)}".strip()
        return Change(self.path, start, end, node.lineno, place, line, old, ast.unparse(new))


def sample(changes: Sequence[Change], seed: int, count: int) -> list[Change]:
    """Return some of the changes: for a seed the same ones, wherever else the code has changed."""
    seen: Counter[Key] = Counter()
    drawn = []
    for change in changes:
        seen[change.key] += 1
        name = repr((seed, change.key, seen[change.key]))
        drawn.append((hashlib.sha256(name.encode()).digest(), change))
    return sorted(change for _, change in sorted(drawn)[:count])


def read_equivalents(folder: Path) -> list[Equivalent]:
    """Return the changes that the files of a folder list: blocks of four lines and more."""
    found = []
    for path in sorted(folder.glob("*.txt")):
        for block in path.read_text().split("\n\n"):
            lines = [line.strip() for line in block.splitlines() if not line.startswith("#")]
            if not lines:
                continue
            if len(lines) < 4:
                raise ValueError(f"{path}: place, line, change and reason expected: {lines}")
            found.append(Equivalent(*lines[:3], " ".join(lines[3:])))
    return found


def _new(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, ast.expr | ast.stmt]]:
    """Yield what can take the place of a node, or of a part of it."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
            yield node, ast.Compare(node.left, [COMPARISONS[type(op)]()], node.comparators)
        case ast.BinOp(op=ast.LShift() | ast.RShift(), right=ast.Constant(value=0)):
            pass  # nothing is shifted either way
        case ast.BinOp() if type(node.op) in OPERATORS:
            yield node, ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield node, ast.BoolOp(other, node.values)
        case ast.UnaryOp(op=ast.Not()):
            yield node, node.operand
        case ast.Constant(value=bool()):
            yield node, ast.Constant(not node.value)
        case ast.Constant(value=int()):
            yield node, ast.Constant(node.value + 1)
        case ast.If() | ast.While() | ast.IfExp() if not _is_negated(node.test):
            yield node.test, ast.UnaryOp(ast.Not(), node.test)
        case ast.Return(value=ast.expr()) if not _is_none(node.value):
            yield node, ast.Return(ast.Constant(None))
        case ast.Break():
            yield node, ast.Continue()
        case ast.Continue():
            yield node, ast.Break()
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Delete():
            yield node, ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield node, ast.Pass()


def _code(node: ast.AST, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], ast.AST]]:
    """Walk what runs, with the names of the classes and functions around it."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params", "bases"):
            continue
        # What a class is told about its base: mypy knows `frozen`, and `gc` only saves time.
        if name == "keywords" and isinstance(node, ast.ClassDef):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _means_nothing(child):
                inner = names
                if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    inner = (*names, child.name)
                yield inner, child
                yield from _code(child, inner)


def _means_nothing(node: ast.AST) -> bool:
    """Whether nothing but types, texts for people or speed depends on a piece of code."""
    match node:
        case ast.JoinedStr() | ast.Raise() | ast.Assert() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name in ("__all__", "__slots__") or "CACHE" in name
        case ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
            return True
        case ast.If(test=test):
            return "TYPE_CHECKING" in ast.unparse(test)
        case ast.FunctionDef(name=name):
            return name == "__repr__"
        case ast.Call(func=ast.Attribute(value=ast.Attribute(attr=name) | ast.Name(id=name))):
            return name in LOGGERS
        case ast.Expr(value=ast.Call() as call):
            return _means_nothing(call)
        case ast.keyword(arg=name):
            return name in ("maxsize", "strict")
    return False


def _is_negated(test: ast.expr) -> bool:
    """Whether another change of the same place is to its opposite."""
    match test:
        case ast.UnaryOp(op=ast.Not()):
            return True
        case ast.Compare(ops=[ast.Eq() | ast.NotEq() | ast.Is() | ast.IsNot()]):
            return True
        case ast.Compare(ops=[ast.In() | ast.NotIn()]):
            return True
    return False


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
