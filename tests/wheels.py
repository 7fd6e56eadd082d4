"""The wheel, built from the sources as they are, and a clean environment that has nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.tools import TIMEOUT, absent

__all__ = [
    "CLEAN",
    "PIP",
    "ROOT",
    "copy_sources",
    "installed",
    "require_compiler",
    "run",
    "tracked",
    "wheel",
]

ROOT = Path(__file__).parent.parent
SOURCES = (
    "LICENSE",
    "README.md",
    "captures",
    "lbcproxy",
    "plugins",
    "pyproject.toml",
    "setup.py",
    "twisted",
)
MADE = (".pcapng", ".cache", ".so")
"""Files that a run or a build leaves behind."""
CLEAN = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
"""The environment variables of a program that is not to see the sources."""


PIP = (sys.executable, "-m", "pip", "--quiet")


def run(*command: object, folder: Path, **variables: str) -> str:
    """Run a program in a folder without our sources in its sight, and return what it prints."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**CLEAN, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=10 * TIMEOUT,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def tracked(folder: Path) -> list[Path]:
    """Return the files of a folder that belong to the project, not to a run or a build."""
    ignored = {"__pycache__"}
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not ignored & set(path.parts)
        and (path.suffix not in MADE or path.match("captures/btcd-*.pcapng"))
    ]


def require_compiler() -> None:
    """End a test where extensions cannot be built."""
    compiler = os.environ.get("CC") or str(sysconfig.get_config_var("CC"))
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if shutil.which(compiler.split()[0]) is None or not header.exists():
        absent("no C compiler, or no headers of Python: install gcc and python3-dev")


def copy_sources(folder: Path) -> Path:
    """Copy what is built from, so that no earlier build is mixed in; return where it is."""
    for name in SOURCES:
        source = ROOT / name
        for path in [source] if source.is_file() else tracked(source):
            target = folder / "source" / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return folder / "source"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """Build the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    source = copy_sources(folder)
    run(*PIP, "wheel", "--no-deps", "--wheel-dir", folder, source, folder=folder)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory) -> Path:
    """Install the wheel, with what it depends on, in a clean environment; return its programs."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "venv", folder=folder)
    programs = folder / "venv" / "bin"
    run(programs / "python", "-m", "pip", "--quiet", "install", wheel, folder=folder)
    return programs
