"""A copy of the project whose tests run in forked processes, for `script/mutate`.

The process that forks has imported what the tests need from other projects, and nothing of this
one, so that each run imports the code of the copy and little else.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import hypothesis
import pytest

__all__ = ["ROOT", "Found", "Workshop", "warm_up"]

ROOT = Path(__file__).parent.parent
NEEDED = ("lbcproxy", "tests", "captures", "plugins", "examples", "docs", "twisted", "script")
FILES = ("pyproject.toml", "config.yaml", "README.md", "CHANGELOG.md")
OURS = ("lbcproxy", "tests")
MAX_MEMORY = 4 << 30
"""Bytes of address space that a run may have: a change can make a loop endless."""

MAX_EXAMPLES = 50

# The same examples in each run, fewer of them, and none made smaller once it fails.
hypothesis.settings.register_profile(
    "mutation",
    max_examples=MAX_EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)


class Found(NamedTuple):
    """What a run of tests found."""

    failure: str
    """The first test that failed, or what else went wrong; empty if all passed."""
    seconds: dict[str, float]
    """How long each test file took."""
    modules: list[str]
    """The modules of other projects that were imported."""


class Watch:
    """A pytest plugin that notes the first failure, and how long each file took."""

    def __init__(self) -> None:
        self.failure = ""
        self.seconds: Counter[str] = Counter()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Have tests try no more examples than the profile says, whatever they say themselves."""
        for item in items:
            test = getattr(item, "obj", None)
            own = getattr(test, "_hypothesis_internal_use_settings", None)
            if own is not None and own.max_examples > MAX_EXAMPLES:
                less = hypothesis.settings(own, max_examples=MAX_EXAMPLES)
                test._hypothesis_internal_use_settings = less

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid.partition("::")[0]] += report.duration
        self.pytest_collectreport(report)

    def pytest_collectreport(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        if report.failed and not self.failure:
            self.failure = report.nodeid


class Workshop:
    """A copy of the project in which a change can be tried."""

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        self.folder = folder
        self._result, self.output = folder / "result.json", folder / "output.txt"
        for name in NEEDED:
            shutil.copytree(root / name, folder / name, symlinks=True)
        for name in FILES:
            shutil.copy2(root / name, folder / name)

    @contextlib.contextmanager
    def changed(self, path: Path, data: bytes) -> Iterator[None]:
        """Have other bytes in a file; afterwards it is as before, so that its bytecode is valid."""
        file = self.folder / path
        before, when = file.read_bytes(), file.stat().st_mtime_ns
        file.write_bytes(data)
        try:
            yield
        finally:
            file.write_bytes(before)
            os.utime(file, ns=(when, when))

    def start(self, tests: Sequence[Path], timeout: float, *, to_the_end: bool = False) -> int:
        """Run tests until one fails, in a process with a process group; return the process's id."""
        sys.stdout.flush()
        self._result.unlink(missing_ok=True)
        pid = os.fork()
        if pid == 0:
            try:
                self._run(tests, timeout, to_the_end)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(3)
        return pid

    def found(self, pid: int, status: int) -> Found:
        """Return what a process found that has ended, and end what it left."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        if os.WIFSIGNALED(status):
            number = signal.Signals(os.WTERMSIG(status))
            late = number is signal.SIGALRM
            return Found("it takes too long" if late else f"killed by {number.name}", {}, [])
        if os.WEXITSTATUS(status) != 0:
            return Found("pytest does not start", {}, [])
        return Found(*json.loads(self._result.read_text()))

    def _run(self, tests: Sequence[Path], timeout: float, to_the_end: bool) -> NoReturn:
        """Run tests on the code of this folder, and on no other."""
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.alarm(int(timeout) + 1)
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
        target = os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(target, number)
        os.chdir(self.folder)
        os.environ["PYTHONPATH"] = str(self.folder)
        sys.path[:] = [str(self.folder), *(each for each in sys.path if not _is_root(each))]
        for name in [each for each in sys.modules if _is_ours(each)]:
            del sys.modules[name]
        # The first run leaves the bytecode of what is not changed, the others none.
        sys.dont_write_bytecode = not to_the_end
        options = ["-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutation"]
        options += ["-m", "not live and not slow", *([] if to_the_end else ["-x"])]
        watch = Watch()
        code = pytest.main([*options, *map(str, tests)], plugins=[watch])
        passed = code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        failure = "" if passed else watch.failure or f"pytest ends with {code}"
        files = {name: getattr(each, "__file__", None) for name, each in [*sys.modules.items()]}
        for name, file in files.items():
            if _is_ours(name) and file and not Path(file).is_relative_to(self.folder):
                raise ImportError(f"{name} is not from {self.folder}: {file}")
        others = [name for name, file in files.items() if file and not _is_ours(name)]
        self._result.write_text(json.dumps([failure, watch.seconds, others]))
        os._exit(0)


def warm_up(modules: Iterable[str]) -> None:
    """Import modules of other projects, for all processes that are forked from now on."""
    for name in modules:
        # A reactor is installed where it is imported, and a process should have its own.
        if not name.endswith(("reactor", "__main__")):
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in OURS


def _is_root(path: str) -> bool:
    return Path(path).resolve() == ROOT
