"""Small changes to modules, one at a time, and whether the tests beside them notice.

`script/mutate lbcproxy/session --seed 1 2 3` samples changes of single expressions or statements,
for each seed 50 over all modules of a folder. On each change it runs the tests of the module's
package, the module's own first, and prints the first test that failed, or that none did. A change
that hangs counts as noticed. Changes that change nothing are listed in `tests/mutants`, each with
its reason.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.mutation_changes import Change, Equivalent, Key, Source, read_equivalents, sample
from tests.mutation_workshop import ROOT, Workshop, warm_up

MIN_TIMEOUT = 30.0
"""Seconds that the tests of one change may take at least."""
MAX_SECONDS = 3600.0
"""Seconds that all tests may take without a change."""

Stages = list[list[Path]]
"""Test files in the order in which they are run."""


def nearest_tests(module: Path, root: Path = ROOT) -> Stages:
    """Return the test files beside a module, nearest first.

    Its own; those of its package that share a word of its name; the rest of its folder; and those
    in the folders above, up to the package.
    """
    package, folder = Path("tests", module.parts[1]), Path("tests", *module.parts[1:-1])
    while not (root / folder).is_dir():
        folder = folder.parent
    if (root / package).is_dir():
        files = (root / package).rglob("test_*.py")
    else:
        files = (root / "tests").glob("test_*.py")
    words = set(module.stem.split("_"))
    groups: list[Callable[[Path], bool]] = [
        lambda test: test.stem == f"test_{module.stem}",
        lambda test: bool(words & set(test.stem.split("_")[1:])),
        lambda test: test.is_relative_to(folder),
        lambda test: folder.is_relative_to(test.parent),
    ]
    stages: Stages = [[] for _ in groups]
    for test in sorted(each.relative_to(root) for each in files):
        for stage, belongs in zip(stages, groups, strict=True):
            if belongs(test):
                stage.append(test)
                break
    return [stage for stage in stages if stage]


class Trial:
    """The tests of one change: some files after the others until one fails."""

    def __init__(
        self, source: Source, change: Change, stages: Stages, seconds: Mapping[str, float]
    ) -> None:
        self.change = change
        self._data = source.with_change(change)
        self._seconds = seconds
        self._tests = iter(batches(stages, seconds))

    def begin(self, shop: Workshop) -> int:
        """Make the change, start its first tests, and return the id of their process."""
        self.shop = shop
        self._changed = contextlib.ExitStack()
        self._changed.enter_context(shop.changed(self.change.path, self._data))
        return self._start(next(self._tests))

    def go_on(self, failure: str) -> int | None:
        """Start the next tests, if nothing has failed; otherwise undo the change."""
        tests = None if failure else next(self._tests, None)
        if tests is not None:
            return self._start(tests)
        self.undo()
        return None

    def undo(self) -> None:
        """Undo the change."""
        self._changed.close()

    def _start(self, tests: Sequence[Path]) -> int:
        usual = sum(self._seconds.get(str(test), 0.0) for test in tests)
        return self.shop.start(tests, MIN_TIMEOUT + 5 * usual)


def batches(stages: Stages, seconds: Mapping[str, float]) -> Iterator[list[Path]]:
    """Yield the test files that are run together: in each stage quick ones first, several at once.

    A process takes a while to start, and so does a file of which nothing is needed any more.
    """
    most = sum(seconds.values()) / 10
    for stage in stages:
        batch: list[Path] = []
        total = 0.0
        for usual, test in sorted((seconds.get(str(test), 0.0), test) for test in stage):
            if batch and total + usual > most:
                yield batch
                batch, total = [], 0.0
            batch.append(test)
            total += usual
        yield batch


def outcomes(trials: Iterable[Trial], shops: Sequence[Workshop]) -> Iterator[tuple[Change, str]]:
    """Run trials, as many at a time as there are workshops; yield what noticed each change."""
    waiting, free, running = iter(trials), list(shops), dict[int, Trial]()
    try:
        while True:
            while free and (trial := next(waiting, None)) is not None:
                running[trial.begin(free.pop())] = trial
            if not running:
                return
            pid, status = os.wait()
            trial = running.pop(pid)
            failure = trial.shop.found(pid, status).failure
            following = trial.go_on(failure)
            if following is not None:
                running[following] = trial
            else:
                free.append(trial.shop)
                yield trial.change, failure
    finally:
        for pid, trial in running.items():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            trial.undo()


def workshops(
    scratch: Path, jobs: int, stages: Iterable[Stages]
) -> tuple[list[Workshop], dict[str, float]]:
    """Return copies of the project, and how long each test file takes without a change."""
    tests = sorted({test for each in stages for stage in each for test in stage})
    shop = Workshop(scratch / "0")
    found = shop.found(*os.waitpid(shop.start(tests, MAX_SECONDS, to_the_end=True), 0))
    if found.failure:
        raise SystemExit(
            f"{shop.output.read_text()}\nthe tests fail without a change: {found.failure}"
        )
    print(f"{len(tests)} test files take {sum(found.seconds.values()):.0f} s without a change")
    warm_up(found.modules)
    others = [Workshop(scratch / str(number), shop.folder) for number in range(1, jobs)]
    return [shop, *others], found.seconds


def modules_of(paths: Sequence[Path]) -> list[Path]:
    """Return the modules that some paths name: files, or all in a folder."""
    found = []
    for path in paths:
        if not (ROOT / path).exists():
            raise SystemExit(f"{path} does not exist")
        inside = sorted((ROOT / path).rglob("*.py"))
        found += [each.relative_to(ROOT) for each in inside] or [path]
    return found


def report(
    seed: int,
    tried: Sequence[Change],
    unnoticed: Container[Change],
    known: Mapping[Key, Equivalent],
) -> None:
    """Print how many changes of a sample were noticed, and which were not."""
    equivalent = [known[each.key] for each in tried if each.key in known]
    missed = [each for each in tried if each in unnoticed]
    count = len(tried) - len(equivalent)
    noticed = count - len(missed)
    print(
        f"seed {seed}: {noticed} of {count} changes noticed ({noticed / max(count, 1):.0%});"
        f" {len(equivalent)} more change nothing"
    )
    for change in missed:
        print(f"  not noticed: {change}")
    for each in equivalent:
        print(f"  changes nothing: {each.place}: {each.change}: {each.reason}")


def main() -> int:
    """Try a sample of changes and print what the tests noticed of it."""
    parser = argparse.ArgumentParser(prog="script/mutate", description=__doc__)
    parser.add_argument("paths", type=Path, nargs="+", help="modules, or folders of modules")
    parser.add_argument("--seed", type=int, nargs="+", default=[1])
    parser.add_argument("--count", type=int, default=50, help="changes to try for each seed (50)")
    parser.add_argument("--jobs", type=int, default=2, help="changes tried at the same time (2)")
    parser.add_argument("--tests", type=Path, nargs="+", help="in place of those beside the module")
    arguments = parser.parse_args()
    # Whoever ends this process ends those that it started, and removes the copies.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sources = {path: Source(path, ROOT) for path in modules_of(arguments.paths)}
    changes = [change for source in sources.values() for change in source.changes()]
    known = {each.key: each for each in read_equivalents(ROOT / "tests" / "mutants")}
    samples = {seed: sample(changes, seed, arguments.count) for seed in arguments.seed}
    wanted = sorted({each for some in samples.values() for each in some if each.key not in known})
    stages = {
        path: [arguments.tests] if arguments.tests else nearest_tests(path) for path in sources
    }
    unnoticed = set()
    with tempfile.TemporaryDirectory() as scratch:
        shops, seconds = workshops(
            Path(scratch), arguments.jobs, [stages[each.path] for each in wanted]
        )
        trials = (Trial(sources[each.path], each, stages[each.path], seconds) for each in wanted)
        for change, failure in outcomes(trials, shops):
            print(change, f": noticed by {failure}" if failure else ": NOT NOTICED", flush=True)
            if not failure:
                unnoticed.add(change)
    print(f"{len(changes)} changes are possible")
    for seed, some in samples.items():
        report(seed, some, unnoticed, known)
    keys = {each.key for each in changes}
    for each in known.values():
        if each.path in sources and each.key not in keys:
            print(f"listed as changing nothing, but there is no such line: {each}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
