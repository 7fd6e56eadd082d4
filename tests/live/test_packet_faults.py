"""Faults for encrypted connections, between a client in a few lines and a real node."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")

from tests.live.proxies import Client, Proxy
from tests.nodes import BTCD26, ENCRYPTS, Node, wait_until

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Run btcd v0.26.2, which has to survive everything."""
    node = Node(BTCD26, tmp_path_factory.mktemp("faulty"), flags=(ENCRYPTS,))
    try:
        node.start()
        yield node
        assert node.height == 0
    finally:
        node.stop()


@pytest.fixture
def proxy(request: pytest.FixtureRequest, node: Node, tmp_path: Path) -> Iterator[Proxy]:
    """Run a proxy with the fault of the test, in what the node is sent."""
    fault = f"{request.param} stream=upstream"
    proxy = Proxy(node.kind.network, node.port, tmp_path, "--fault", fault, "--seed", "1")
    try:
        yield proxy
    finally:
        proxy.close()


def faults(*texts: str) -> pytest.MarkDecorator:
    """Run a test with each of these faults."""
    return pytest.mark.parametrize("proxy", texts, indirect=True)


@faults(
    "decoy filter=ping size=1000 count=3",
    "decoy",
    "handshake garbage=4094",  # btcd looks for the terminator in one byte less than the BIP allows
    "handshake version=100",
)
def test_what_is_allowed_changes_nothing(node: Node, proxy: Proxy):
    """The node answers, and knows the connection as encrypted."""
    with Client(node.kind.network, proxy.port, encrypts=True) as client:
        client.greet()
        assert client.ping(7) == 7
        [peer] = node.control("getpeerinfo")
        assert peer["v2_connection"]


@faults(
    "tag filter=ping",
    "packet_length filter=ping length=4",
    "packet_length filter=ping length=30",  # the next packet completes it
    "corrupt how=checksum filter=ping",
)
def test_the_node_closes_for_a_packet_that_it_cannot_decrypt(node: Node, proxy: Proxy):
    """And the proxy tells the client, and the operator."""
    with Client(node.kind.network, proxy.port, encrypts=True) as client:
        client.greet()
        client.send_ping(7)
        client.send_ping(8)
        assert client.read_to_end() in ("closed", "reset")
    wait_until("it says why", lambda: "end: upstream " in proxy.output)
    wait_until("the node has no peer", lambda: node.control("getpeerinfo") == [])


@faults("handshake garbage=4096", "handshake garbage=5000 terminator=false")
def test_the_node_closes_for_garbage_without_an_end(node: Node, proxy: Proxy):
    """In the handshake; nothing of it is tried again without encryption."""
    with Client(node.kind.network, proxy.port, encrypts=True) as client:
        assert client.read_to_end() in ("closed", "reset")
    wait_until("it says why", lambda: "end: upstream " in proxy.output)
    assert "connecting again" not in proxy.output
    assert node.control("getpeerinfo") == []


@faults("handshake close=key", "handshake close=garbage garbage=100", "handshake close=version")
def test_an_early_close_leaves_the_node_as_it_was(node: Node, proxy: Proxy):
    """It has forgotten the connection."""
    try:
        with Client(node.kind.network, proxy.port, encrypts=True) as client:
            assert client.read_to_end() in ("closed", "reset")
    except AssertionError as error:
        assert "closed before" in str(error)
    wait_until("it says why", lambda: "end: fault handshake_upstream" in proxy.output)
    wait_until("the node has no peer", lambda: node.control("getpeerinfo") == [])
