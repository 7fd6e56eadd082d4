"""Small changes to a module, one at a time, and whether the tests beside it notice.

`script/mutate lbcproxy/wire/framer.py --seed 1 --count 50 --jobs 2` samples changes of single
expressions or statements. On each it runs the tests of the module's package, the module's own test
first, and prints what no test noticed. A change that hangs counts as noticed.
"""

from __future__ import annotations

import argparse
import ast
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
NEEDED = ("lbcproxy", "tests", "captures", "plugins", "examples", "docs", "twisted", "script")
MIN_TIMEOUT = 60.0
"""Seconds that the tests of one change may take at least."""

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


class Change(NamedTuple):
    """A part of a module's source, and what takes its place."""

    start: int
    end: int
    """Offsets in the source's bytes."""
    line: int
    text: str


class Source:
    """A module's source, and the changes that can be made to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path.read_bytes()
        self._starts = [0]
        for line in self.data.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def changes(self) -> list[Change]:
        """Return every change, in the order of the source."""
        found = [
            Change(*self._span(node), node.lineno, ast.unparse(new))
            for node, new in _mutants(ast.parse(self.data))
        ]
        return sorted(
            each for each in found if self.data[each.start : each.end].decode() != each.text
        )

    def with_change(self, change: Change) -> bytes:
        """Return the source with a change made."""
        text = change.text.encode()
        if not text.startswith((b"return", b"pass", b"break", b"continue")):
            text = b"(" + text + b")"  # precedence stays what the tree says
        return self.data[: change.start] + text + self.data[change.end :]

    def describe(self, change: Change) -> str:
        """Return a line for people: where, what was there, what took its place."""
        old = self.data[change.start : change.end].decode()
        return f"{self.path}:{change.line}: {' '.join(old.split())}  ->  {change.text}"

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        return start, self._starts[node.end_lineno - 1] + node.end_col_offset


def _mutants(tree: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, ast.expr | ast.stmt]]:
    """Yield each node that can be changed, with what takes its place."""
    for node in _code(tree):
        match node:
            case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
                yield node, ast.Compare(node.left, [COMPARISONS[type(op)]()], node.comparators)
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
            case ast.If() | ast.While() | ast.IfExp():
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


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """Walk what runs: no annotations, no docstrings, no f-strings, no lists of exports."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params", "bases"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr | ast.Raise):
                continue
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue
            if isinstance(child, ast.Assign) and ast.unparse(child.targets[0]) == "__all__":
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            yield child
            yield from _code(child)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def nearest_tests(module: Path) -> list[str]:
    """Return the tests beside a module: its own first, then those of its folder and above it."""
    folder = Path("tests", *module.parts[1:-1])
    own = sorted((ROOT / "tests" / module.parts[1]).rglob(f"test_{module.stem}.py"))
    while not (ROOT / folder).is_dir():
        folder = folder.parent
    if folder == Path("tests"):
        return [str(each.relative_to(ROOT)) for each in own] or ["tests"]
    return [*(str(each.relative_to(ROOT)) for each in own), str(folder)]


class Workshop:
    """A copy of the project in which a change can be tried."""

    def __init__(self, folder: Path, module: Path, tests: list[str]) -> None:
        self._folder, self._module, self._tests = folder, module, tests
        self.timeout = 600.0
        for name in NEEDED:
            shutil.copytree(ROOT / name, folder / name, symlinks=True)
        for name in ("pyproject.toml", "config.yaml", "README.md", "CHANGELOG.md"):
            shutil.copy(ROOT / name, folder / name)

    def passes(self, source: bytes) -> bool:
        """Whether the tests pass with the module's source replaced."""
        (self._folder / self._module).write_bytes(source)
        command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        command += ["-m", "not live and not slow", *self._tests]
        try:
            done = subprocess.run(
                command, cwd=self._folder, capture_output=True, check=False, timeout=self.timeout
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0


def main() -> int:
    """Try a sample of changes and print what the tests did not notice."""
    parser = argparse.ArgumentParser(prog="script/mutate", description=__doc__)
    parser.add_argument("module", type=Path, help="such as lbcproxy/wire/framer.py")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=50, help="changes to try (50)")
    parser.add_argument("--jobs", type=int, default=2, help="changes tried at the same time (2)")
    parser.add_argument("--tests", nargs="+", help="in place of the tests beside the module")
    arguments = parser.parse_args()
    module = arguments.module
    source = Source(module)
    changes = source.changes()
    count = min(arguments.count, len(changes))
    sample = sorted(random.Random(arguments.seed).sample(changes, count))
    tests = arguments.tests or nearest_tests(module)
    with tempfile.TemporaryDirectory() as scratch:
        shops: SimpleQueue[Workshop] = SimpleQueue()
        for number in range(arguments.jobs):
            shops.put(Workshop(Path(scratch) / str(number), module, tests))
        start = time.monotonic()
        first = shops.get()
        if not first.passes(source.data):
            print(f"the tests fail without a change: {' '.join(tests)}")
            return 2
        timeout = max(MIN_TIMEOUT, 5 * (time.monotonic() - start))
        shops.put(first)

        def survives(change: Change) -> bool:
            shop = shops.get()
            shop.timeout = timeout
            try:
                return shop.passes(source.with_change(change))
            finally:
                shops.put(shop)

        with ThreadPoolExecutor(arguments.jobs) as pool:
            unnoticed = [
                change
                for change, passed in zip(sample, pool.map(survives, sample), strict=True)
                if passed
            ]
    for change in unnoticed:
        print(source.describe(change))
    noticed = count - len(unnoticed)
    print(
        f"{module}: {noticed} of {count} changes noticed ({noticed / max(count, 1):.0%}),"
        f" seed {arguments.seed}, of {len(changes)} possible; tests: {' '.join(tests)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
