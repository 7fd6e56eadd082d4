"""The shape of the code: no import circles, short functions, one meaning a name, no dangling text.

Each test has a list of offenders, which is empty. A deliberate exception is listed with its reason.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping

import pytest

from tests.modules import MODULES, PACKAGE, name_of

ROOT = PACKAGE.parent
MAX_FUNCTION = 50

SAME_NAME: Mapping[str, str] = {}
"""Names of classes that two modules have, and why."""


def import_graph(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Return which modules each module imports, of those given: name to names."""
    graph = {}
    for module, source in sources.items():
        found = set()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                # `from package import name` needs the module of that name, if there is one.
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    found.add(inner if inner in sources else node.module)
        graph[module] = {each for each in found if each in sources and each != module}
    return graph


def circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the modules of one circle of imports, the first again at the end; empty if none."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for each in sorted(graph.get(module, ())):
            if found := visit(each, [*path, module]):
                return found
        done.add(module)
        return []

    for module in sorted(graph):
        if found := visit(module, []):
            return found
    return []


def test_no_module_imports_itself_through_others():
    """Each module can be read after those it imports; imports inside functions count too."""
    sources = {name_of(path): path.read_text() for path in MODULES}
    assert circle(import_graph(sources)) == []


@pytest.mark.parametrize(
    "last", ["from lbcproxy.a import x", "from lbcproxy import a", "def f():\n import lbcproxy.a"]
)
def test_a_planted_circle_is_found(last):
    """The test above can fail."""
    sources = {
        "lbcproxy": "",
        "lbcproxy.a": "from lbcproxy.b import y",
        "lbcproxy.b": "import lbcproxy.c",
        "lbcproxy.c": last,
    }
    assert circle(import_graph(sources)) == ["lbcproxy.a", "lbcproxy.b", "lbcproxy.c", "lbcproxy.a"]


def too_long(source: str) -> list[str]:
    """Return the functions of a source that have too many lines, with how many."""
    return [
        f"{node.name}: {lines}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION
    ]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_function_is_too_long(path):
    """A function does one thing."""
    assert too_long(path.read_text()) == []


def test_a_function_that_is_too_long_is_found():
    """The test above can fail."""
    assert too_long("def f():\n" + "    x = 1\n" * MAX_FUNCTION) == [f"f: {MAX_FUNCTION + 1}"]


TEST_MODULES = sorted((ROOT / "tests").rglob("*.py"))


def imported_tests(source: str) -> list[str]:
    """Return the test modules that a source imports, or imports names from."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return sorted(each for each in found if each.rpartition(".")[2].startswith("test_"))


def test_no_test_module_is_imported():
    """What tests share is in a helper module, whose name says what it holds."""
    found = {
        str(path.relative_to(ROOT)): names
        for path in TEST_MODULES
        if (names := imported_tests(path.read_text()))
    }
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "from tests.a.test_b import c",
        "from tests.a import test_b",
        "import tests.a.test_b as b",
        "from .test_b import c",
        "from . import test_b",
        "def f():\n    from tests.test_b import c",
    ],
)
def test_an_imported_test_module_is_found(source):
    """The test above can fail."""
    assert imported_tests(source)
    assert imported_tests("from tests.a.builders import c\nimport lbcproxy.testing") == []


def test_a_class_name_has_one_meaning():
    """Whoever reads a class name need not ask which one is meant."""
    places = defaultdict(list)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(name_of(path))
    several = {name: found for name, found in places.items() if len(found) > 1}
    assert {name: found for name, found in several.items() if name not in SAME_NAME} == {}
    assert len(SAME_NAME) <= 5
    assert set(SAME_NAME) <= set(several)


TEXTS = [
    ROOT / line
    for line in subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if re.search(r"\.(py|pyx|pyi|md|yaml|yml|lua|h)$|^script/|^\.ci/", line)
]


def dangling(text: str, there: frozenset[str]) -> list[str]:
    """Return the Markdown files that a text names and that are not there."""
    named = re.findall(r"(?<![\w/.-])((?:[\w-]+/)*[A-Za-z][\w-]*\.md)\b", text)
    return sorted({each for each in named if each.rpartition("/")[2] not in there})


@pytest.mark.skipif(not TEXTS, reason="needs a git checkout")
def test_text_names_no_file_that_is_not_there():
    """A reader who follows a name finds something."""
    there = frozenset(path.name for path in TEXTS)
    found = {
        str(path.relative_to(ROOT)): names
        for path in TEXTS
        if path.is_file() and (names := dangling(path.read_text(errors="replace"), there))
    }
    assert found == {}


def test_a_dangling_name_is_found():
    """The test above can fail."""
    text = "see GONE" + ".md B21 and docs/peer.md"
    assert dangling(text, frozenset({"peer.md"})) == ["GONE" + ".md"]


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
FOLDERS = (PACKAGE, PACKAGE / "capture", PACKAGE / "capture" / "tools", ROOT)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([\w/]+\.(?:pyx?|h))`", ARCHITECTURE))))
def test_a_file_in_architecture_exists(name):
    """Whoever follows the path of a byte finds each file."""
    assert any((folder / name).is_file() for folder in (*FOLDERS, PACKAGE / "wire"))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([A-Z]\w+(?:\.\w+)?)`", ARCHITECTURE))))
def test_a_class_in_architecture_exists(name):
    """A class and its method have the name that the page gives them."""
    text = "\n".join(path.read_text() for path in MODULES)
    owner, _, member = name.partition(".")
    assert re.search(rf"^(?:class )?{owner}\b", text, re.MULTILINE)
    assert not member or re.search(rf"\b{member}\b", text)
