"""Tests of every kind: plain, asyncio, trial, pytest-twisted; and side by side."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.pytest_plugin.projects import outcome
from tests.tools import absent

pytestmark = pytest.mark.slow

HEAD = 'pytestmark = pytest.mark.capture("captures/sync.pcap", network="lbry-regtest")\n'
TWISTED_CLIENT = """
from twisted.internet import defer, endpoints, protocol, reactor

class Client(protocol.Protocol):
    def __init__(self):
        self.first = defer.Deferred()

    def connectionMade(self):
        version = bytes.fromhex("7d110100" + "00" * 16 + "00" * 52 + "07" * 8 + "00" + "00" * 5)
        lightclient.LightClient._send(self, "version", version)

    @property
    def _writer(self):
        return self.transport

    def dataReceived(self, data):
        first, self.first = self.first, None
        if first is not None:
            first.callback(data[4:16].rstrip(b"\\0"))

def connect(address):
    endpoint = endpoints.clientFromString(reactor, f"tcp:{address}")
    return endpoints.connectProtocol(endpoint, Client())
"""


def test_asyncio_tests(project):
    """With pytest-asyncio: one loop for the test and its client, another for us."""
    project.tests(
        HEAD
        + """
@pytest.mark.asyncio
async def test_node(replayed_node):
    async with await lightclient.LightClient.connect(*replayed_node.address) as client:
        assert len(await client.chain()) == 306

@pytest.mark.asyncio
async def test_peer(scripted_peer):
    async with await lightclient.LightClient.connect(*scripted_peer.address) as client:
        asked = asyncio.create_task(client.headers())
        await scripted_peer.expect("getheaders")
        scripted_peer.send("headers", headers=())
        assert await asked == []

@pytest.mark.asyncio
async def test_unmet(scripted_peer):
    await scripted_peer.expect("getheaders", timeout=0.05)
"""
    )
    result = project.run()
    assert outcome(result) == {"passed": 2, "failed": 1}
    result.stdout.fnmatch_lines(["*Unmet: expected getheaders: it did not arrive within 0.05 s"])


TRIAL = (
    HEAD
    + TWISTED_CLIENT
    + """
from twisted.trial.unittest import TestCase

class TestNode(TestCase):
    @pytest.fixture(autouse=True)
    def _given(self, replayed_node, scripted_peer):
        self.node, self.peer = replayed_node, scripted_peer

    @defer.inlineCallbacks
    def test_node(self):
        client = yield connect(self.node.address)
        first = yield client.first
        self.assertEqual(first, b"version")
        client.transport.loseConnection()

    async def test_peer(self):
        client = await connect(self.peer.address)
        version = await self.peer.expect("version")
        self.assertEqual(version.nonce, 0x0707070707070707)
        client.transport.loseConnection()
        why = await self.peer.when_disconnected()
        self.assertEqual(why, "closed by the node")

    def test_deferred(self):
        def came(version):
            self.assertEqual(version.version, 70013)
            client.transport.loseConnection()
            return self.peer.when_disconnected().deferred()

        def connected(made):
            nonlocal client
            client = made
            return self.peer.expect("version").deferred().addCallback(came)

        client = None
        return connect(self.peer.address).addCallback(connected)

    async def test_unmet(self):
        await self.peer.expect("version", timeout=0.05)
"""
)


def test_trial_tests(project):
    """They run the global reactor, each for itself; ours is another."""
    project.tests(TRIAL)
    result = project.run_apart()
    assert outcome(result) == {"passed": 3, "failed": 1}
    result.stdout.fnmatch_lines(["*Unmet: expected version: it did not arrive within 0.05 s"])


def test_what_a_trial_test_has_seen_is_reported(project):
    """Pytest keeps the failures of a TestCase elsewhere."""
    project.tests(
        HEAD
        + """
from twisted.trial.unittest import TestCase

class TestNode(TestCase):
    @pytest.fixture(autouse=True)
    def _given(self, recorded_node):
        self.node = recorded_node

    def test_failing(self):
        lightclient.fetch_block(*self.node.address, bytes(32))

    def test_passing(self):
        with self.assertRaises(ConnectionError):
            lightclient.fetch_block(*self.node.address, bytes(32))
"""
    )
    result = project.run_apart()
    assert outcome(result) == {"failed": 2}
    reason = f"no recorded answer: getdata block {'00' * 32}"
    assert result.stdout.str().count(reason) == 2


@pytest.fixture
def pytest_twisted(tmp_path, monkeypatch):
    """Have it in the programs that are started; installed here it would run all of our tests."""
    packages = ("pytest-twisted>=1.14", "greenlet>=3", "decorator>=5")
    command = (sys.executable, "-m", "pip", "--quiet", "install", "--no-deps", "--target", tmp_path)
    done = subprocess.run([*map(str, command), *packages], capture_output=True, check=False)
    if done.returncode:
        absent("pip cannot install pytest-twisted: it needs a package registry")
    path = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))


def test_pytest_twisted_tests(project, pytest_twisted):
    """It runs the global reactor in a greenlet, after every test."""
    project.tests(
        HEAD
        + TWISTED_CLIENT
        + """
import pytest_twisted

@pytest_twisted.ensureDeferred
async def test_node(replayed_node):
    client = await connect(replayed_node.address)
    assert await client.first == b"version"
    client.transport.loseConnection()

@pytest_twisted.inlineCallbacks
def test_peer(scripted_peer):
    client = yield connect(scripted_peer.address)
    version = yield scripted_peer.expect("version").deferred()
    assert version.version == 70013
    client.transport.loseConnection()

@pytest_twisted.ensureDeferred
async def test_await(scripted_peer):
    client = await connect(scripted_peer.address)
    assert (await scripted_peer.expect("version")).version == 70013
    client.transport.loseConnection()

@pytest_twisted.ensureDeferred
async def test_unmet(scripted_peer):
    await scripted_peer.expect("version", timeout=0.05)

def test_plain(replayed_node):
    assert len(lightclient.fetch_chain(*replayed_node.address)) == 306
"""
    )
    for reactor, passed in (("default", 4), ("asyncio", 3)):  # there asyncio.run cannot be called
        wanted = () if reactor == "default" else ("-k", "not plain")
        result = project.run_apart(f"--reactor={reactor}", *wanted)
        assert outcome(result).items() >= {"passed": passed, "failed": 1}.items()
        result.stdout.fnmatch_lines(["*Unmet: expected version: it did not arrive within 0.05 s"])


def test_nothing_of_ours_installs_a_reactor(project, upstream):
    """Whoever wants another than the usual one still can."""
    project.tests(
        HEAD
        + """
import sys

def test_all(replayed_node, replayed_client, scripted_peer):
    lightclient.fetch_chain(*replayed_node.address)
    scripted_peer.connect(*replayed_node.address).result()
    replayed_client.run(*replayed_node.address, check=False).result()
    assert "twisted.internet.reactor" not in sys.modules

@pytest.mark.capture("new.pcapng")
def test_recording(recorded_node):
    lightclient.fetch_chain(recorded_node.host, recorded_node.port)
    assert "twisted.internet.reactor" not in sys.modules
"""
    )
    project.config(upstream=upstream.address, timeout=5)
    assert outcome(project.run_apart("--record-mode=once")) == {"passed": 2}


def test_tests_side_by_side(project, upstream):
    """Under pytest-xdist: no port and no file is shared, and what workers say is heard."""
    project.tests(
        """
        @pytest.mark.capture
        @pytest.mark.parametrize("number", range(6))
        def test_chain(recorded_node, number):
            assert len(lightclient.fetch_chain(*recorded_node.address)) == 306
        """
    )
    project.config(network="lbry-regtest", upstream=upstream.address)
    recorded = project.run_apart("-n", "2", "--record-mode=once", "--block-network")
    assert outcome(recorded) == {"passed": 6}
    files = [f"captures/test_it/test_chain[[]{n}].pcapng" for n in range(6)]
    recorded.stdout.fnmatch_lines_random([f"recorded {file} (* messages)" for file in files])
    assert project.captures == [file.replace("[[]", "[") for file in files]
    heard = upstream.heard
    assert outcome(project.run_apart("-n", "2")) == {"passed": 6}
    assert upstream.heard == heard
