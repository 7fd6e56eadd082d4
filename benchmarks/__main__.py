"""Measure everything, and hold it against its targets.

`python -m benchmarks [--only NAME ...] [--quick] [--json FILE] [--plots FOLDER] [--markdown]`, with
`--from FILE` to show what an earlier run has written; or `script/benchmark`, which installs the
rivals before. Takes some twenty minutes; progress goes to the standard error. The exit code is 1 if
a row fails, which is more than not being met.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import inspect
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import msgspec

from benchmarks.measure import Absent, Figure, Target
from benchmarks.report import held, markdown, plain, progress, tables

NAMES = (
    "codec",
    "growth_codec",
    "forward",
    "round_trip",
    "encrypted",
    "readers",
    "start",
    "memory",
    "plugins",
    "growth",
    "sync",
)
QUICK = {"repeats": 2, "scale": 0.1}
"""For a look in a minute or two; such figures are good for nothing else."""


class Found(msgspec.Struct):
    """All that was measured, and on what."""

    machine: dict[str, str]
    figures: list[Figure] = []
    absent: list[Absent] = []
    targets: list[Target] = []


def main() -> int:
    """Measure, and print and write what was asked for."""
    options = _options()
    if options.earlier is None:
        found = _measure(options.only, quick=options.quick)
    else:
        found = msgspec.json.decode(options.earlier.read_bytes(), type=Found)
    progress(", ".join(found.machine.values()))
    for table in tables(found.figures, found.absent, found.targets):
        print(markdown(table) if options.markdown else plain(table), end="\n\n")
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    if options.plots is not None:
        from benchmarks.plots import draw

        for path in draw(found.figures, options.plots):
            progress(f"drawn: {path}")
    return int(any(each.verdict == "failed" for each in held(found.figures, found.targets)))


def _measure(names: Sequence[str], *, quick: bool) -> Found:
    """Measure what modules measure, one after the other."""
    found = Found(_machine())
    for name in names:
        progress(f"== {name}")
        module = importlib.import_module(f"benchmarks.{name}")
        found.targets += module.TARGETS
        for each in _measured(name, module, quick=quick):
            if isinstance(each, Figure):
                found.figures.append(each)
            else:
                found.absent.append(each)
    return found


def _options() -> argparse.Namespace:
    there = [name for name in NAMES if importlib.util.find_spec(f"benchmarks.{name}")]
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--only", nargs="+", choices=there, metavar="NAME", help=", ".join(there))
    parser.add_argument("--quick", action="store_true", help="few and small repeats: does it work?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    parser.add_argument(
        "--from", dest="earlier", type=Path, metavar="FILE", help="measure nothing, show FILE"
    )
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw plots into FOLDER")
    parser.add_argument("--markdown", action="store_true", help="print tables for a page")
    options = parser.parse_args()
    options.only = options.only or there
    return options


def _measured(name: str, module: ModuleType, *, quick: bool) -> Iterator[Figure | Absent]:
    """Measure what a module measures; what breaks off is told of, and the others go on."""
    known = inspect.signature(module.measure).parameters
    settings = {key: value for key, value in QUICK.items() if quick and key in known}
    if "repeats" not in settings and known["repeats"].default is inspect.Parameter.empty:
        settings["repeats"] = 15
    try:
        yield from module.measure(**settings)
    except (OSError, RuntimeError) as error:
        progress(f"{name} breaks off: {error}")
        yield Absent(name, f"broke off: {error}")


def _machine() -> dict[str, str]:
    model: Sequence[str] = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": f"{os.cpu_count()} x {model[0] if model else platform.machine()}",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


if __name__ == "__main__":
    sys.exit(main())
