"""Programs that judge what lbcproxy writes; tests that need one are skipped where it is absent."""

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

REPOSITORY = Path(__file__).parent.parent
TIMEOUT = 120
"""Seconds until something that should happen counts as not happening: a machine may be busy."""
CASES = REPOSITORY / "tests" / "cases"
"""Small captures of what was once read wrongly; README.md there says what is right."""


def absent(advice: str) -> NoReturn:
    """Skip a test for want of something; with LBCPROXY_REQUIRE_ALL=1 fail it instead."""
    if os.environ.get("LBCPROXY_REQUIRE_ALL") == "1":
        pytest.fail(f"{advice} (LBCPROXY_REQUIRE_ALL is set)")
    pytest.skip(advice)


@functools.cache
def find_program(name: str) -> str | None:
    """Find a program: $LBCPROXY_TEST_<NAME>, the PATH, Go's folder, .tools/bin, or nowhere."""
    named = os.environ.get(f"LBCPROXY_TEST_{name.upper()}")
    if named is not None:
        return shutil.which(named) or named
    folders = [REPOSITORY / ".tools" / "bin", *_go_folder()]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(map(str, folders)))


def program(name: str, advice: str) -> str:
    """Return the path of a program, or end the test with advice on how to get it."""
    return find_program(name) or absent(advice)


def tshark(*arguments: str) -> str:
    """Run tshark, Wireshark without windows, and return what it prints."""
    command = [program("tshark", "install tshark"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _go_folder() -> list[Path]:
    """Where `go install` puts programs."""
    go = shutil.which("go")
    if go is None:
        return []
    done = subprocess.run([go, "env", "GOPATH"], capture_output=True, text=True, check=False)
    return [Path(done.stdout.strip()) / "bin"] if done.stdout.strip() else []
