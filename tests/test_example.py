"""`examples/light-client`: somebody's project, with lbcproxy installed from its wheel."""

from __future__ import annotations

import re
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbcproxy.capture import open_capture
from tests.tools import TIMEOUT
from tests.wheels import CLEAN, ROOT, run, tracked

pytestmark = pytest.mark.slow

EXAMPLE = ROOT / "examples" / "light-client"
FIRST_BLOCK = "tests/captures/test_chain/test_first_block.pcapng"
USUAL = ("-m", "pytest", "-p", "no:cacheprovider", "--strict-config")
CUTS_NOTHING = ("CI", "BUILD_NUMBER")
"""With these in the environment pytest cuts no line, and the README shows what people see."""


@pytest.fixture(scope="module")
def python(installed: Path) -> Path:
    """A Python with the wheel and pytest, as a user has it."""
    run(installed / "python", "-m", "pip", "-q", "install", "pytest", "pytest-xdist", folder=ROOT)
    return installed / "python"


@pytest.fixture(scope="module")
def node(installed: Path) -> Iterator[str]:
    """A node that listens, from what the wheel has; return where."""
    command = [installed / "lbcproxy", "replay", "server", ROOT / "captures" / "lbcd-sync.pcap"]
    with subprocess.Popen(
        [*map(str, command), "-q"], stdout=subprocess.PIPE, env=CLEAN, text=True
    ) as server:
        try:
            assert select.select([server.stdout], [], [], TIMEOUT)[0]
            yield re.search(r"listening at ([\d.:]+),", server.stdout.readline())[1]
        finally:
            server.terminate()


class Example:
    """A copy of the project."""

    def __init__(self, python: Path, folder: Path, node: str) -> None:
        self.folder = folder
        self._python = python
        plain = {name: value for name, value in CLEAN.items() if name not in CUTS_NOTHING}
        self._variables = {**plain, "LIGHTCLIENT_NODE": node, "COLUMNS": "80"}
        for path in [*tracked(EXAMPLE), *EXAMPLE.rglob("*.pcapng")]:
            target = folder / path.relative_to(EXAMPLE)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)

    def test(self, *arguments: str) -> tuple[int, str]:
        """Run pytest; return its exit code and what it says."""
        done = subprocess.run(
            [self._python, *USUAL, *arguments],
            cwd=self.folder,
            env=self._variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
        return done.returncode, done.stdout + done.stderr

    @property
    def captures(self) -> dict[str, bytes]:
        """All captures, by path."""
        found = sorted(self.folder.rglob("*.pcapng"))
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture
def example(python, node, tmp_path) -> Example:
    return Example(python, tmp_path, node)


def passed(result: tuple[int, str]) -> int:
    """Return how many tests have passed; all have."""
    code, output = result
    assert code == 0, output
    return int(re.search(r"(\d+) passed", output)[1])


def test_the_example_needs_no_node(example):
    """As it is checked out; also side by side, and where nothing may leave loopback."""
    example._variables["LIGHTCLIENT_NODE"] = "127.0.0.1:1"
    before = example.captures
    assert len(before) == 4
    assert passed(example.test("--block-network")) == 8
    assert passed(example.test("-n", "2")) == 8
    assert example.captures == before


def test_the_plugin_is_there_by_installation(example):
    """Nobody has imported it."""
    assert example.test("--collect-only")[0] == 0
    assert "lbcproxy" in example.test("--version", "--version")[1]
    sources = "".join(path.read_text() for path in example.folder.rglob("*.py"))
    assert "import lbcproxy" not in sources
    assert "from lbcproxy" not in sources


@pytest.mark.parametrize("mode", ["once", "new_episodes", "all", "rewrite"])
def test_the_example_records_what_is_missing(example, mode):
    """In each mode that records; what it has recorded is played then."""
    names = set(example.captures)
    for name in names:
        (example.folder / name).unlink()
    code, output = example.test("tests/test_chain.py")
    assert code == 1
    assert output.count("lbcproxy: there is no capture") >= 4
    result = example.test(f"--record-mode={mode}")
    assert passed(result) == 8
    for name in names - {"tests/captures/test_chain/test_chain.pcapng"}:
        assert f"recorded {name} (" in result[1]
    assert set(example.captures) == names
    recorded = example.captures
    assert passed(example.test("--record-mode=none")) == 8
    assert example.captures == recorded


@pytest.mark.parametrize(
    ("mode", "changes"),
    [("none", False), ("once", False), ("new_episodes", False), ("all", True), ("rewrite", True)],
)
def test_what_each_mode_does_to_what_is_there(example, mode, changes):
    """The table of its README."""
    before = example.captures
    assert passed(example.test(f"--record-mode={mode}", "tests/test_chain.py")) == 4
    after = example.captures
    assert after.keys() == before.keys()
    assert all((after[name] != before[name]) is changes for name in before)


def test_the_failure_is_as_its_readme_shows_it(example):
    """Word for word."""
    example._variables["LIGHTCLIENT_NODE"] = "127.0.0.1:29246"
    [shown] = re.findall(
        r"```\n(-+ lbcproxy -+\n.*?)```", (EXAMPLE / "README.md").read_text(), re.S
    )
    code, output = example.test("tests/fails_on_purpose.py")
    assert code == 1
    assert "ConnectionError: the node has closed the connection" in output
    assert shown in output


def test_new_episodes_mends_the_failure(example):
    """It is the mode that the failure names."""
    before = [entry.command for entry in open_capture(example.folder / FIRST_BLOCK)]
    result = example.test("--record-mode=new_episodes", "tests/fails_on_purpose.py")
    assert passed(result) == 1
    assert f"recorded {FIRST_BLOCK} (2 messages)" in result[1]
    after = [entry.command for entry in open_capture(example.folder / FIRST_BLOCK)]
    assert after == [*before, "getdata", "block"]
    assert passed(example.test("tests/fails_on_purpose.py")) == 1
    assert passed(example.test()) == 8
