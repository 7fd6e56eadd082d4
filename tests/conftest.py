"""What all tests share: a running reactor, the wheel, and counts that pytest's last lines show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
from twisted.logger import globalLogPublisher

from lbcproxy.peer.log import LOG_FILTER
from tests.proxy.loops import Loop
from tests.wheels import installed, wheel

__all__ = ["installed", "wheel"]

# How long an example takes says more about the machine than about us. What failed is printed in a
# form that can be run again anywhere, also where CI is set, for which hypothesis has a profile.
hypothesis.settings.register_profile("lbcproxy", deadline=None, print_blob=True)
hypothesis.settings.load_profile("lbcproxy")

COUNTS = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COUNTS] = Counter()


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Have the log as it was: a program that ran in this process has set it up for itself.

    An observer that is left makes a line of every message of all tests that follow.
    """
    level, observers = LOG_FILTER.level, list(globalLogPublisher._observers)
    yield
    LOG_FILTER.level = level
    for observer in list(globalLogPublisher._observers):
        if observer not in observers:
            globalLogPublisher.removeObserver(observer)


@pytest.fixture
def count(request: pytest.FixtureRequest):
    """Count something under a name, to be printed after the results."""

    def add(name: str) -> None:
        request.config.stash[COUNTS][name] += 1

    return add


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    """A running reactor, of which nothing may be left in the end."""
    loop = Loop()
    yield loop
    left = loop.call(lambda: loop.reactor.getDelayedCalls())
    loop.stop()
    assert left == []


@pytest.fixture(params=["v1", "v2"])
def transport(request: pytest.FixtureRequest) -> str:
    """What the nodes of a test speak."""
    name: str = request.param
    return name


@pytest.fixture
def make_scene(transport: str) -> Iterator[Callable[..., Any]]:
    """Make a relay between two nodes, over either transport; encrypted wires hold no frame."""
    from tests.proxy.packets import SCENES, PacketScene

    made = []

    def make(*arguments: Any, **others: Any) -> Any:
        made.append(SCENES[transport](*arguments, **others))
        return made[-1]

    yield make
    for scene in made:
        if isinstance(scene, PacketScene):
            scene.check_wires()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts = terminalreporter.config.stash[COUNTS]
    if counts:
        terminalreporter.section("counts")
        for name, number in sorted(counts.items()):
            terminalreporter.write_line(f"{number:6,} {name}")
