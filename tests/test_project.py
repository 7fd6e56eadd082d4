"""What contributors rely on: exact and lowest versions, workflows, hooks."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.tools import TIMEOUT, program

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def dependencies() -> list[Requirement]:
    """Return what pyproject.toml requires, all extras included."""
    extras = PROJECT["optional-dependencies"].values()
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]
    return [each for line in lines if (each := Requirement(line)).name != "lbcproxy"]


def locked() -> dict[str, str]:
    """Return the version of each package in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [re.match(r"([\w.-]+)==([^ ;]+)", line) for line in lines if not line.startswith("#")]
    return {canonicalize_name(each[1]): each[2] for each in found if each}


@pytest.mark.parametrize("requirement", dependencies(), ids=str)
def test_a_dependency_has_a_floor_and_a_locked_version(requirement):
    """script/lock was run after the last change of dependencies."""
    assert any(each.operator in (">=", "==") for each in requirement.specifier)
    assert requirement.specifier.contains(locked()[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_hash(path):
    """A tag can be moved to other code; a hash cannot."""
    used = re.findall(r"uses: (\S+)", path.read_text())
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", each)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_scripts_that_workflows_run_are_there(path):
    """A workflow is only run elsewhere, so what it calls is checked here."""
    jobs = yaml.safe_load(path.read_text())["jobs"].values()
    commands = " ".join(step.get("run", "") for job in jobs for step in job["steps"])
    scripts = re.findall(r"(?:^|\s)(\.ci/\w+|script/[\w-]+)", commands)
    assert [each for each in scripts if not (ROOT / each).is_file()] == []


def test_actionlint_finds_nothing():
    """Workflows are valid: expressions, shell commands, keys."""
    advice = "go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.7"
    command = [program("actionlint", advice), *map(str, WORKFLOWS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert (done.returncode, done.stdout) == (0, "")


def test_commits_are_checked_by_the_tools_of_the_lint_script():
    """What pre-commit runs is what script/lint runs."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"].split()[0] for repo in config["repos"] for hook in repo["hooks"]]
    lint = (ROOT / "script" / "lint").read_text()
    assert entries
    for each in entries:
        assert f'"$venv/bin/{each.removeprefix(".venv/bin/")}"' in lint
