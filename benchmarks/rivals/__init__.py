"""Programs of other languages that read and write the same block: built when first asked for.

Each takes a file with a block's payload and a number of repeats, and prints the seconds of each
repeat of both works as JSON. What is built lies below `build/`, outside of what is committed.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.measure import Absent

__all__ = ["PROGRAMS", "Program", "built", "seconds_of"]

HERE = Path(__file__).parent
BUILD = HERE.parent.parent / "build" / "rivals"
LONGEST = 600
"""Seconds that a build, with what it downloads, or a run may take."""


class Program(msgspec.Struct, frozen=True):
    """A program in a folder beside this file, how it is built, and where that leaves it."""

    who: str
    folder: str
    build: tuple[str, ...]
    made: Path


RUST = BUILD / "rust"
GO = BUILD / "go" / "block"

PROGRAMS = (
    Program(
        "rust-bitcoin",
        "rust",
        ("cargo", "build", "--release", "--locked", "--target-dir", str(RUST)),
        RUST / "release" / "block",
    ),
    Program("btcd's wire", "go", ("go", "build", "-o", str(GO), "."), GO),
)


@functools.cache
def built(program: Program) -> Path | Absent:
    """Build a program, which takes a moment where nothing has changed; or say why it cannot be."""
    try:
        _run(program.build, HERE / program.folder)
    except FileNotFoundError:
        return Absent(program.who, f"{program.build[0]} is not installed")
    except subprocess.TimeoutExpired:
        return Absent(program.who, f"the build took more than {LONGEST} seconds")
    except subprocess.CalledProcessError as error:
        return Absent(program.who, f"the build failed: {_reason(error.stderr)}")
    return program.made


def _reason(said: str) -> str:
    """Pick the line that says what went wrong: cargo gives advice after it."""
    lines = said.strip().splitlines() or ["it said nothing"]
    return next((line for line in lines if line.startswith("error")), lines[-1])


def seconds_of(program: Path, payload: bytes, repeats: int) -> dict[str, Sequence[float]]:
    """Return the seconds of each repeat of "decode" and of "encode"."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(payload)
        file.flush()
        said = _run((str(program), file.name, str(repeats)), HERE)
    found: dict[str, Sequence[float]] = json.loads(said)
    return found


def _run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(  # noqa: S603  # programs of ours, and what builds them
        command,
        cwd=folder,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=LONGEST,
    )
    return done.stdout
