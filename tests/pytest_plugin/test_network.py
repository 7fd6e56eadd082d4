"""`--block-network`: loopback alone, and an error that names who wanted where."""

from __future__ import annotations

import socket

import pytest

from lbcproxy.pytest_plugin import network
from tests.pytest_plugin.projects import CHAIN, outcome

pytestmark = pytest.mark.slow

WAYS = {
    "connect": ("AF_INET, socket.SOCK_STREAM", 'made.connect(("192.0.2.1", 9246))'),
    "datagram": ("AF_INET, socket.SOCK_DGRAM", 'made.sendto(b"x", ("192.0.2.1", 9246))'),
    "IPv6": ("AF_INET6, socket.SOCK_STREAM", 'made.connect(("2001:db8::1", 9246))'),
    "create_connection": ("AF_INET", 'socket.create_connection(("192.0.2.1", 9246), 1)'),
    "asyncio": ("AF_INET", 'asyncio.run(asyncio.open_connection("192.0.2.1", 9246))'),
}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_leaves_loopback(project, way):
    """Whatever the code under test does, the address and the test are named."""
    kind, does = WAYS[way]
    project.tests(
        "import socket\n\ndef test_it():\n"
        f"    with socket.socket(socket.{kind}) as made:\n        {does}\n"
    )
    result = project.run_apart("--block-network")  # what is blocked there may stay unclosed
    assert outcome(result) == {"failed": 1}
    where = "[[]2001:db8::1]:9246" if way == "IPv6" else "192.0.2.1:9246"
    result.stdout.fnmatch_lines(
        [f"*NetworkBlocked: test_it.py::test_it must not connect to {where}: the network is *"]
    )


def test_names_are_not_looked_up(project):
    """That leaves loopback as well; seeds of a network are names."""
    project.tests(
        """
        import socket

        def test_it():
            socket.create_connection(("seed.invalid", 9246))
        """
    )
    result = project.run("--block-network")
    assert outcome(result) == {"failed": 1}
    result.stdout.fnmatch_lines(["*gaierror: *test_it must not look up seed.invalid*"])


def test_a_client_of_twisted_gets_a_failure(project):
    """It cannot take an exception there; the failed test says what was blocked."""
    project.tests(
        """
        from twisted.internet import endpoints, protocol, reactor
        from twisted.trial.unittest import TestCase

        class TestIt(TestCase):
            async def test_it(self):
                endpoint = endpoints.TCP4ClientEndpoint(reactor, "192.0.2.1", 9246)
                await endpoints.connectProtocol(endpoint, protocol.Protocol())
        """
    )
    result = project.run_apart("--block-network")
    assert outcome(result) == {"failed": 1}
    result.stdout.fnmatch_lines(
        ["*Permission denied*", "*test_it must not connect to 192.0.2.1:9246: the network*"]
    )


def test_loopback_and_allowed_hosts_are_left_alone(project):
    """Nodes of ours, servers of the test's own, and whatever is said."""
    project.tests(
        """
        import os, socket

        @pytest.mark.capture("captures/sync.pcap")
        def test_node(replayed_node):
            assert len(lightclient.fetch_chain("localhost", replayed_node.port)) == 306

        def test_allowed():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.connect(("192.0.2.7", 9))

        def test_not_allowed():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.connect(("198.51.100.7", 9))
        """
    )
    result = project.run("--block-network", r"--allowed-hosts=nobody,192\.0\.2\.")
    assert outcome(result) == {"passed": 2, "failed": 1}


def test_it_is_over_after_the_tests(project):
    """And was never there without the option."""
    project.tests(
        """
        import socket

        def test_it():
            assert socket.socket.connect.__name__ == "method"
        """
    )
    before = socket.socket.connect, socket.socket.sendto, socket.getaddrinfo
    assert outcome(project.run("--block-network")) == {"passed": 1}
    assert (socket.socket.connect, socket.socket.sendto, socket.getaddrinfo) == before
    assert outcome(project.run()) == {"failed": 1}


@pytest.mark.parametrize("upstream", ["127.0.0.2"], indirect=True)
def test_a_recording_reaches_its_node_and_the_test_does_not(project, upstream, monkeypatch):
    """What records for a test may go where the test may not."""
    monkeypatch.setattr(network, "is_loopback", "127.0.0.1".__eq__)
    host, _, port = upstream.address.partition(":")
    project.tests(
        CHAIN
        + f"""
def test_directly():
    with pytest.raises(RuntimeError, match="must not connect"):
        lightclient.fetch_chain({host!r}, {port})
"""
    )
    project.config(network="lbry-regtest", upstream=upstream.address)
    result = project.run("--record-mode=once", "--block-network")
    assert outcome(result) == {"passed": 2}
