"""The pytest plugin: replays and records captures that are stored beside tests.

The fixtures import what is expensive, so that the plugin costs nothing where it is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from lbcproxy.pytest_plugin.client import Client
    from lbcproxy.pytest_plugin.loop import Loop
    from lbcproxy.pytest_plugin.node import Node
    from lbcproxy.pytest_plugin.peer import ScriptedPeer
    from lbcproxy.pytest_plugin.settings import Settings

__all__ = [
    "lbcproxy_config",
    "make_scripted_peer",
    "recorded_node",
    "replayed_client",
    "replayed_node",
    "scripted_peer",
]

MARK = (
    "capture(file, **settings): the capture of a test, relative to its folder; without a file "
    "captures/MODULE/TEST.pcapng"
)
NOTE = "lbcproxy"
"""The property of reports that has the text for the end of the run; xdist's workers send it."""


class TestResource(Protocol):
    """An object that a fixture has provided to a test."""

    def problem(self) -> str:
        """Return why the test fails; empty if it does not."""

    def details(self) -> str:
        """Return what helps to explain a failure."""

    def finish(self, *, passed: bool) -> str:
        """Release resources; return the text for the end of the run."""


RESOURCES = pytest.StashKey[list[TestResource]]()
PASSED = pytest.StashKey[bool]()
LOOP = pytest.StashKey[Any]()
GUARD = pytest.StashKey[Any]()


# Options. pytest-recording has some of the same names; if both are installed, they share them.


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    parser: pytest.Parser, args: list[str]
) -> Generator[None, None, None]:
    """Add options after all other plugins; options that exist already are used.

    An option is looked for before it is added. The error for one that exists already depends on
    pytest: ValueError since 9.2, argparse.ArgumentError before, and below 9.0 only when the command
    line is read next, too late to catch it.
    """
    yield
    existing = parser.parse_known_args(args)
    group = parser.getgroup("lbcproxy", "lbcproxy: captures of peer-to-peer conversations")
    modes = ("none", "once", "new_episodes", "all", "rewrite")
    options: Mapping[str, dict[str, Any]] = {
        "--record-mode": {
            "default": None,
            "choices": modes,
            "help": "How captures are used: none (default) replays them; once records missing "
            "ones; new_episodes also adds responses that a capture lacks; all records every "
            "capture again; rewrite does too, and deletes captures that a test no longer needs. "
            "Only a passing test changes a capture.",
        },
        "--block-network": {
            "action": "store_true",
            "default": False,
            "help": "Let tests connect to loopback addresses only.",
        },
        "--allowed-hosts": {
            "default": None,
            "help": "Hosts that are not blocked: regular expressions, separated by commas.",
        },
    }
    for name, settings in options.items():
        if not hasattr(existing, name.removeprefix("--").replace("-", "_")):
            group.addoption(name, **settings)


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark, and the plugin that collects texts from reports."""
    config.addinivalue_line("markers", MARK)
    config.pluginmanager.register(_EndNotes(), "lbcproxy-notes")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the loop, if there is one."""
    loop = config.stash.get(LOOP, None)
    if loop is not None:
        loop.stop()


class _EndNotes:
    """Prints what happened to captures at the end of the run."""

    def __init__(self) -> None:
        self._notes: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the texts of a test, which may have run in another process."""
        if report.when == "teardown":
            self._notes += [str(text) for name, text in report.user_properties if name == NOTE]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the texts."""
        if self._notes:
            terminalreporter.section("lbcproxy")
            for note in self._notes:
                terminalreporter.write_line(note)


# The network.


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Block the network while a test and its fixtures run."""
    config = item.config
    if not config.getoption("block_network", False):
        return (yield)
    from lbcproxy.pytest_plugin.network import NetworkGuard

    guard = config.stash.get(GUARD, None)
    if guard is None:
        allowed = config.getoption("allowed_hosts", None)
        guard = config.stash[GUARD] = NetworkGuard(allowed.split(",") if allowed else ())
    guard.close(item.nodeid)
    try:
        return (yield)
    finally:
        guard.open()


# How a test ends.


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a passing test if its node, client or peer has a problem."""
    result = yield
    problem = _problem(item)
    if problem and not getattr(item, "_excinfo", None):  # pytest's failures of a unittest.TestCase
        pytest.fail(problem, pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what was observed to a failure, because it may be the cause.

    Also record whether the test has passed: only then is its recording kept.
    """
    report = yield
    if call.when == "call":
        item.stash[PASSED] = report.passed
        if report.failed:
            _add_sections(item, report)
    return report


def _problem(item: pytest.Item) -> str:
    problems = [used.problem() for used in item.stash.get(RESOURCES, ())]
    return "\n\n".join(filter(None, problems))


def _add_sections(item: pytest.Item, report: pytest.TestReport) -> None:
    guard = item.config.stash.get(GUARD, None)
    details = [used.details() for used in item.stash.get(RESOURCES, ())]
    details += guard.blocked if guard is not None else ()
    if any(details):
        report.sections.append(("lbcproxy", "\n".join(filter(None, details)) + "\n"))
    problem, shown = _problem(item), report.longrepr
    add = getattr(shown, "addsection", None)
    if not problem or add is None or problem in str(shown):
        return
    add("lbcproxy", problem)
    crash = getattr(shown, "reprcrash", None)
    if crash is not None:  # the short summary
        crash.message = f"{problem.splitlines()[0]} ({crash.message.splitlines()[0]})"


# Fixtures.


@pytest.fixture
def lbcproxy_config() -> dict[str, Any]:
    """Settings of captures; override it in a conftest.py. Marks take precedence."""
    return {}


@pytest.fixture
def recorded_node(
    request: pytest.FixtureRequest, lbcproxy_config: object
) -> Generator[Node, None, None]:
    """Return a node to connect to, replayed or recorded, depending on the record mode."""
    settings = _settings(request, lbcproxy_config, request.config.getoption("record_mode", None))
    yield from _node(request, settings)


@pytest.fixture
def replayed_node(
    request: pytest.FixtureRequest, lbcproxy_config: object
) -> Generator[Node, None, None]:
    """Return a node that is replayed from its capture in every record mode."""
    yield from _node(request, _settings(request, lbcproxy_config, "none"))


@pytest.fixture
def replayed_client(
    request: pytest.FixtureRequest, lbcproxy_config: object
) -> Generator[Client, None, None]:
    """Return the client of a capture, which can be replayed against a node."""
    from lbcproxy.pytest_plugin.client import Client

    settings = _settings(request, lbcproxy_config, "none")
    path, shown = _capture(request)
    with _as_usage_errors(path):
        client = Client(_loop(request.config), settings, path, shown)
    yield from _use(request, client)


@pytest.fixture
def make_scripted_peer(
    request: pytest.FixtureRequest, lbcproxy_config: object
) -> Generator[Callable[..., ScriptedPeer], None, None]:
    """Return a function that makes scripted peers; its arguments are fields of `PeerConfig`."""
    from lbcproxy.peer import PeerConfig
    from lbcproxy.pytest_plugin.peer import ScriptedPeer

    settings = _settings(request, lbcproxy_config, "none")
    loop = _loop(request.config)
    made: list[Generator[ScriptedPeer, None, None]] = []

    def make(**fields: Any) -> ScriptedPeer:
        usual = {"user_agent_name": "scripted", "transport": settings.listening_transport}
        fields = {**usual, **settings.peer, **fields}
        with _as_usage_errors():
            config = PeerConfig(network=settings.needed_network, **fields)
        peer = ScriptedPeer(loop, config, settings.timeout)
        made.append(_use(request, peer))
        next(made[-1])
        return peer

    yield make
    for each in made:
        next(each, None)


@pytest.fixture
def scripted_peer(make_scripted_peer: Callable[..., ScriptedPeer]) -> ScriptedPeer:
    """Return a peer that the test controls: it expects messages and sends them."""
    return make_scripted_peer()


def _node(request: pytest.FixtureRequest, settings: Settings) -> Generator[Node, None, None]:
    from lbcproxy.pytest_plugin.node import Node

    path, shown = _capture(request)
    with _as_usage_errors(path):
        node = Node(_loop(request.config), settings, path, shown)
    yield from _use(request, node)


def _use(request: pytest.FixtureRequest, used: Any) -> Generator[Any, None, None]:
    """Provide an object that is checked after the test, and finished in its teardown."""
    item = request.node
    item.stash.setdefault(RESOURCES, []).append(used)
    yield used
    note = used.finish(passed=item.stash.get(PASSED, False))
    if note:
        item.user_properties.append((NOTE, note))


def _settings(request: pytest.FixtureRequest, config: object, record_mode: str | None) -> Settings:
    from lbcproxy.pytest_plugin.settings import settings_of

    with _as_usage_errors():
        return settings_of(request.node, config, record_mode)


def _capture(request: pytest.FixtureRequest) -> tuple[Path, str]:
    from lbcproxy.pytest_plugin.settings import capture_path, shown_path

    with _as_usage_errors():
        path = capture_path(request.node)
    return path, shown_path(path, request.config.invocation_params.dir)


def _loop(config: pytest.Config) -> Loop:
    """Return the loop of this process, which is started by the first test that needs it."""
    loop = config.stash.get(LOOP, None)
    if loop is None:
        from lbcproxy.pytest_plugin.loop import Loop

        loop = config.stash[LOOP] = Loop()
    guard = config.stash.get(GUARD, None)
    if guard is not None:
        guard.free.add(loop.thread_id)
    return loop


@contextmanager
def _as_usage_errors(path: Path | None = None) -> Iterator[None]:
    """Convert a user's error to a failure without an internal traceback."""
    from lbcproxy.errors import CaptureError, LbcproxyError

    try:
        yield
    except (ValueError, TypeError, OSError, LbcproxyError) as error:
        of_file = path is not None and isinstance(error, (OSError, CaptureError))
        where = f"{path.name}: " if of_file and path and path.name not in str(error) else ""
        raise pytest.fail.Exception(f"lbcproxy: {where}{error}", pytrace=False) from None
