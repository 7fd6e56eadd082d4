"""Projects of users of the plugin, each in a folder of its own, and a node to be recorded."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
from collections.abc import Iterator

import pytest

import lbcproxy
from lbcproxy.endpoint import Endpoint
from lbcproxy.replay import ReplayServer, load
from lbcproxy.session.events import Delivered, SessionEnded
from tests.nodes import wait_until
from tests.pytest_plugin.projects import Project
from tests.wheels import ROOT

# What pytest runs in this process forgets, after each run, the modules that were new in it: of a
# module that is imported a second time the classes are others.
for found in pkgutil.walk_packages(lbcproxy.__path__, "lbcproxy."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)

SYNC = ROOT / "captures" / "lbcd-sync.pcap"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A folder with a light client of somebody's and one capture."""
    for name in ("PYTEST_ADDOPTS", "CI", "BUILD_NUMBER"):  # with CI pytest cuts no line
        monkeypatch.delenv(name, raising=False)
    shutil.copy(ROOT / "examples" / "light-client" / "lightclient.py", pytester.path)
    (pytester.path / "captures").mkdir()
    shutil.copy(SYNC, pytester.path / "captures" / "sync.pcap")
    pytester.makeini("[pytest]\npythonpath = .\nasyncio_default_fixture_loop_scope = function\n")
    return Project(pytester)


class Upstream:
    """A node that can be reached; it is a recorded one."""

    address = ""

    def __init__(self) -> None:
        self._open = 0
        self._heard = 0

    @property
    def heard(self) -> int:
        """How many messages have passed, once all connections are over.

        It counts in a thread of its own: what a client sent last may be read after it is gone.
        """
        wait_until("all sessions with the upstream are over", lambda: self._open == 0)
        return self._heard

    def session_started(self, _info) -> Upstream:
        self._open += 1
        return self

    def handle(self, event) -> None:
        if isinstance(event, Delivered):
            self._heard += sum(len(each.entries) for each in event.deliveries)
        elif isinstance(event, SessionEnded):
            self._open -= 1


@pytest.fixture
def upstream(loop, request) -> Iterator[Upstream]:
    """A node for tests to record, with 306 blocks; a parameter is its host."""
    node = Upstream()
    listen = Endpoint(getattr(request, "param", "127.0.0.1"), 0)
    server = ReplayServer(load(SYNC), loop.reactor, listen=listen, observers=[node])
    node.address = str(loop.call(server.listen))
    yield node
    loop.call(server.stop)
    server.conversation.close()
