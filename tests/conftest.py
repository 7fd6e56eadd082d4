"""What all tests share: a place for counts that pytest's last lines show."""

from collections import Counter

import pytest

COUNTS = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COUNTS] = Counter()


@pytest.fixture
def count(request: pytest.FixtureRequest):
    """Count something under a name, to be printed behind the results."""

    def add(name: str) -> None:
        request.config.stash[COUNTS][name] += 1

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts = terminalreporter.config.stash[COUNTS]
    if counts:
        terminalreporter.section("counts")
        for name, number in sorted(counts.items()):
            terminalreporter.write_line(f"{number:6,} {name}")
