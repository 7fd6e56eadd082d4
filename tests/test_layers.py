"""The shape of the package: who may import whom, how long a module may be, what has a docstring.

The table is the one of docs/architecture.md. Sources are read, not imported, so imports inside
functions count too.
"""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.modules import MODULES, name_of

LONGEST = 400
IMPORT_ALL = """
import importlib, pkgutil, sys

sys.modules |= dict.fromkeys(("coincurve", "cryptography"))
import lbcproxy
from lbcproxy.transport.curve import MissingLibrary

for found in pkgutil.walk_packages(lbcproxy.__path__, "lbcproxy."):
    if found.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(found.name)
    except (ImportError, MissingLibrary):
        print(found.name)
"""
"""Prints the modules that cannot be imported without the libraries for encryption."""

# From the bottom up. A module imports from rows below its own and from its own package; never
# upwards, and never from a neighbour in its row.
ROWS = (
    (
        "errors",
        "background",
        "clock",
        "deprecated",
        "discover",
        "endpoint",
        "interrupt",
        "json_types",
        "patterns",
        "private",
        "text",
        "resources",
    ),
    ("reactor",),
    ("wire",),
    ("networks", "transport"),
    ("session",),
    ("filters",),
    ("plugins",),
    ("plugin",),
    ("peer", "capture", "faults", "wireshark"),
    ("proxy",),
    ("replay",),
    ("config", "testing"),
    ("control",),
    ("service",),
    ("cli", "tap", "pytest_plugin"),
    ("__main__",),
)
ROW_OF = {part: number for number, row in enumerate(ROWS) for part in row}

# Libraries that must stay where they are: who uses them, and nobody else.
KEPT_TO = {
    "twisted": {
        *("peer", "proxy", "replay", "control", "service", "cli", "tap", "testing"),
        "pytest_plugin",
    },
    "zope": {"peer", "proxy", "replay", "service", "cli", "tap"},
    "yaml": {"config"},
    "construct": {"wire"},
    "cryptography": {"transport"},
    "coincurve": {"transport"},
    "click": {"cli"},
    "re2": {"patterns"},
    "pytest": {"pytest_plugin"},
    "rich": {"cli"},
    "matplotlib": {"cli"},
}


def part_of(module: str) -> str:
    """Return the part of the package a module belongs to: `wire` of `lbcproxy.wire.codec`."""
    return [*module.split("."), ""][1]


def imports(tree: ast.AST) -> Iterator[str]:
    """Return every module that is imported, at the top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide what layer they reach into"
            assert node.module is not None
            if node.module == "lbcproxy":
                yield from (f"lbcproxy.{alias.name}" for alias in node.names)
            else:
                yield node.module


def breaches(module: str, source: str) -> list[str]:
    """Name the imports of a module that the tables above do not allow."""
    own = part_of(module)
    found = []
    for target in imports(ast.parse(source)):
        top = target.split(".")[0]
        part = part_of(target)
        if top == "lbcproxy":
            if part in ROW_OF and part != own and ROW_OF[part] >= ROW_OF.get(own, 0):
                found.append(f"{module} imports {target}")
        elif own not in KEPT_TO.get(top, {own}):
            found.append(f"{module} imports {target}")
    return found


def test_every_part_of_the_package_has_a_row():
    """A new folder takes its place in the table before it imports anything."""
    parts = {part_of(name_of(path)) for path in MODULES} - {""}
    assert parts == set(ROW_OF)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_downwards(path):
    """The core can be read, tested and reused without what stands on it."""
    assert breaches(name_of(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("lbcproxy.wire.codec", "from lbcproxy.session import Session"),
        ("lbcproxy.wire.codec", "from lbcproxy import networks"),
        ("lbcproxy.networks.lbry", "import lbcproxy.capture.reader"),
        ("lbcproxy.capture.reader", "from lbcproxy.peer import Peer"),
        ("lbcproxy.session.session", "def late():\n    from twisted.internet import reactor"),
        ("lbcproxy.session.message", "import construct"),
        ("lbcproxy.proxy.service", "from click import echo"),
        ("lbcproxy.errors", "from lbcproxy.text import printable"),
    ],
)
def test_a_planted_breach_is_found(module, source):
    """The test above can fail."""
    assert len(breaches(module, source)) == 1


def test_only_what_encrypts_needs_the_libraries_for_it():
    """Everything else can be imported without the extra bip324."""
    program = [sys.executable, "-c", IMPORT_ALL]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    transport = ("_secp256k1", "ciphers", "keys", "packets", "v2")
    assert set(done.stdout.split()) == {
        "lbcproxy.proxy.transports.encrypted_leg",
        *(f"lbcproxy.transport.{each}" for each in transport),
    }


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_is_too_long(path):
    """A module that does not fit in a head is two modules."""
    assert len(path.read_text().splitlines()) <= LONGEST


def is_overload(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Whether a definition is one of several signatures; the implementation has the docstring."""
    return any(isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list)


def undocumented(source: str) -> list[str]:
    """Name what is public in a source and has no docstring; `module` for the module itself."""
    tree = ast.parse(source)
    missing = [] if ast.get_docstring(tree) else ["module"]
    inside: list[tuple[str, ast.AST]] = [("", tree)]
    while inside:
        prefix, parent = inside.pop()
        for node in ast.iter_child_nodes(parent):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            if node.name.startswith("_") or is_overload(node):
                continue
            if not ast.get_docstring(node):
                missing.append(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                inside.append((f"{prefix}{node.name}.", node))
    return missing


def is_public(path: Path) -> bool:
    """Whether a module is for others; `_native` is not, and neither is `__main__`."""
    return path.stem == "__init__" or not path.stem.startswith("_")


PUBLIC = [path for path in MODULES if is_public(path)]


@pytest.mark.parametrize("path", PUBLIC, ids=name_of)
def test_what_is_public_has_a_docstring(path):
    """The documentation is in the code, where it is read."""
    assert undocumented(path.read_text()) == []


@pytest.mark.parametrize("path", PUBLIC, ids=name_of)
def test_a_module_says_what_it_exports(path):
    """`__all__` names what exists; a package of nothing but a docstring exports nothing."""
    body = ast.parse(path.read_text()).body
    if path.stem == "__init__" and len(body) == 1:
        return
    module = importlib.import_module(name_of(path))
    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_a_missing_docstring_is_found():
    """The test of docstrings can fail."""
    assert undocumented("class Thing:\n    def do(self): pass\n    def _own(self): pass") == [
        "module",
        "Thing",
        "Thing.do",
    ]
