"""The pytest plugin: captures beside tests, played and recorded. Installed with lbcproxy.

What is heavy is imported by the fixtures: who uses none of them pays nothing.
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
"""The name under which reports carry what is to be said at the end, from workers as well."""


class Used(Protocol):
    """Something that a test was given."""

    def problem(self) -> str:
        """Return why the test has failed, nothing if it has not."""

    def words(self) -> str:
        """Return what a failed test should know."""

    def finish(self, *, passed: bool) -> str:
        """End; give what is to be said at the end of the run."""


USED = pytest.StashKey[list[Used]]()
PASSED = pytest.StashKey[bool]()
LOOP = pytest.StashKey[Any]()
GUARD = pytest.StashKey[Any]()


# Options. pytest-recording has some of the same names: who of both is installed shares them.


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(parser: pytest.Parser) -> Generator[None, None, None]:
    """Add options when all other plugins have: what is there already is used, not added again."""
    yield
    group = parser.getgroup("lbcproxy", "lbcproxy: captures of peer-to-peer conversations")
    modes = ("none", "once", "new_episodes", "all", "rewrite")
    options: Mapping[str, dict[str, Any]] = {
        "--record-mode": {
            "default": None,
            "choices": modes,
            "help": "What becomes of captures: none (default) plays them; once records those that "
            "are missing; new_episodes adds what they have no answer to; all records anew; rewrite "
            "too, and deletes what a test no longer needs. Only a test that passes changes one.",
        },
        "--block-network": {
            "action": "store_true",
            "default": False,
            "help": "Let tests connect to loopback alone.",
        },
        "--allowed-hosts": {
            "default": None,
            "help": "Regular expressions, separated by commas, for hosts that are not blocked.",
        },
    }
    for name, settings in options.items():
        try:
            group.addoption(name, **settings)
        except ValueError:
            continue  # another plugin has it


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known, and be told of reports."""
    config.addinivalue_line("markers", MARK)
    config.pluginmanager.register(_Notes(), "lbcproxy-notes")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the loop, if there is one."""
    loop = config.stash.get(LOOP, None)
    if loop is not None:
        loop.stop()


class _Notes:
    """What became of captures, said at the end of the run."""

    def __init__(self) -> None:
        self._notes: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a test has to say; also of one that ran elsewhere."""
        if report.when == "teardown":
            self._notes += [str(text) for name, text in report.user_properties if name == NOTE]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say it."""
        if self._notes:
            terminalreporter.section("lbcproxy")
            for note in self._notes:
                terminalreporter.write_line(note)


# The network.


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Block the network while a test runs, with its fixtures."""
    config = item.config
    if not config.getoption("block_network", False):
        return (yield)
    from lbcproxy.pytest_plugin.network import Guard

    guard = config.stash.get(GUARD, None)
    if guard is None:
        allowed = config.getoption("allowed_hosts", None)
        guard = config.stash[GUARD] = Guard(allowed.split(",") if allowed else ())
    guard.close(item.nodeid)
    try:
        return (yield)
    finally:
        guard.open()


# How a test ends.


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that has passed by itself for what its node, client or peer has seen."""
    result = yield
    problem = _problem(item)
    if problem and not getattr(item, "_excinfo", None):  # pytest's failures of a unittest.TestCase
        pytest.fail(problem, pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell behind a failure what was seen meanwhile: that may well be its cause.

    And note whether a test has passed: only then what it recorded is kept.
    """
    report = yield
    if call.when == "call":
        item.stash[PASSED] = report.passed
        if report.failed:
            _tell(item, report)
    return report


def _problem(item: pytest.Item) -> str:
    problems = [used.problem() for used in item.stash.get(USED, ())]
    return "\n\n".join(filter(None, problems))


def _tell(item: pytest.Item, report: pytest.TestReport) -> None:
    guard = item.config.stash.get(GUARD, None)
    words = [used.words() for used in item.stash.get(USED, ())]
    words += guard.blocked if guard is not None else ()
    if any(words):
        report.sections.append(("lbcproxy", "\n".join(filter(None, words)) + "\n"))
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
    """Settings of captures; override it in a conftest.py, and say them closer in marks."""
    return {}


@pytest.fixture
def recorded_node(
    request: pytest.FixtureRequest, lbcproxy_config: object
) -> Generator[Node, None, None]:
    """Return a node to connect to: played or recorded, as the record mode says."""
    settings = _settings(request, lbcproxy_config, request.config.getoption("record_mode", None))
    yield from _node(request, settings)


@pytest.fixture
def replayed_node(
    request: pytest.FixtureRequest, lbcproxy_config: object
) -> Generator[Node, None, None]:
    """Return a node that is played from its capture, whatever the record mode."""
    yield from _node(request, _settings(request, lbcproxy_config, "none"))


@pytest.fixture
def replayed_client(
    request: pytest.FixtureRequest, lbcproxy_config: object
) -> Generator[Client, None, None]:
    """Return the client of a capture, to be played to a node."""
    from lbcproxy.pytest_plugin.client import Client

    settings = _settings(request, lbcproxy_config, "none")
    path, shown = _capture(request)
    with _in_words(path):
        client = Client(_loop(request.config), settings, path, shown)
    yield from _use(request, client)


@pytest.fixture
def make_scripted_peer(
    request: pytest.FixtureRequest, lbcproxy_config: object
) -> Generator[Callable[..., ScriptedPeer], None, None]:
    """Return what makes scripted peers; its arguments are fields of their `PeerConfig`."""
    from lbcproxy.peer import PeerConfig
    from lbcproxy.pytest_plugin.peer import ScriptedPeer

    settings = _settings(request, lbcproxy_config, "none")
    loop = _loop(request.config)
    made: list[Generator[ScriptedPeer, None, None]] = []

    def make(**fields: Any) -> ScriptedPeer:
        fields = {"user_agent_name": "scripted", **settings.peer, **fields}
        with _in_words():
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
    """Return a peer that the test moves: it expects messages and sends them."""
    return make_scripted_peer()


def _node(request: pytest.FixtureRequest, settings: Settings) -> Generator[Node, None, None]:
    from lbcproxy.pytest_plugin.node import Node

    path, shown = _capture(request)
    with _in_words(path):
        node = Node(_loop(request.config), settings, path, shown)
    yield from _use(request, node)


def _use(request: pytest.FixtureRequest, used: Any) -> Generator[Any, None, None]:
    """Have something looked at behind the test, and ended in its teardown."""
    item = request.node
    item.stash.setdefault(USED, []).append(used)
    yield used
    note = used.finish(passed=item.stash.get(PASSED, False))
    if note:
        item.user_properties.append((NOTE, note))


def _settings(request: pytest.FixtureRequest, config: object, record_mode: str | None) -> Settings:
    from lbcproxy.pytest_plugin.settings import settings_of

    with _in_words():
        return settings_of(request.node, config, record_mode)


def _capture(request: pytest.FixtureRequest) -> tuple[Path, str]:
    from lbcproxy.pytest_plugin.settings import capture_path, shown_path

    with _in_words():
        path = capture_path(request.node)
    return path, shown_path(path, request.config.invocation_params.dir)


def _loop(config: pytest.Config) -> Loop:
    """Return the loop of this process; it begins with the first test that needs it."""
    loop = config.stash.get(LOOP, None)
    if loop is None:
        from lbcproxy.pytest_plugin.loop import Loop

        loop = config.stash[LOOP] = Loop()
    guard = config.stash.get(GUARD, None)
    if guard is not None:
        guard.free.add(loop.thread_id)
    return loop


@contextmanager
def _in_words(path: Path | None = None) -> Iterator[None]:
    """Turn what a person did wrong into a failure without a traceback of ours."""
    from lbcproxy.errors import CaptureError, LbcproxyError

    try:
        yield
    except (ValueError, TypeError, OSError, LbcproxyError) as error:
        of_file = path is not None and isinstance(error, (OSError, CaptureError))
        where = f"{path.name}: " if of_file and path and path.name not in str(error) else ""
        raise pytest.fail.Exception(f"lbcproxy: {where}{error}", pytrace=False) from None
