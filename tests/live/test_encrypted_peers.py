"""Our own connections to and from nodes that encrypt (BIP324), by the nodes' own account."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from lbcproxy.capture import open_capture
from lbcproxy.peer import NonceCache, Peer, PeerConfig, Transport
from lbcproxy.transport.key_log import KeyLog
from lbcproxy.wire.messages.keepalive import Ping, Pong
from tests.live.payments import pay_and_mine
from tests.live.proxies import Proxy, command
from tests.nodes import BTCD26, ENCRYPTS, KINDS, Node, wait_until
from tests.proxy.loops import Loop

pytestmark = pytest.mark.live

BLOCKS = 300
NETWORK = BTCD26.network


@pytest.fixture(scope="module")
def a(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that encrypts, with a chain."""
    BTCD26.programs()
    node = Node(BTCD26, tmp_path_factory.mktemp("encrypted"), flags=(ENCRYPTS,))
    try:
        node.start()
        node.generate(BLOCKS)
        yield node
    finally:
        node.stop()


@pytest.fixture
def peer(loop: Loop) -> Iterator[Any]:
    """Make peers, which are disconnected in the end."""
    made: list[Peer] = []

    def make(*, inbound: bool, callbacks: object = None) -> Peer:
        # btcd only keeps connections to nodes that serve blocks with witnesses.
        config = PeerConfig(network=NETWORK, transport=Transport.V2, services=9)
        peer = Peer(
            config,
            inbound=inbound,
            clock=loop.reactor,
            callbacks=callbacks,
            nonces=NonceCache(),
        )
        made.append(peer)
        return peer

    yield make
    for each in made:
        loop.call(each.disconnect)
        loop.call(each.when_disconnected)


class Pongs:
    """The callbacks of a peer: keeps the pongs."""

    def __init__(self, pongs: list[Pong]) -> None:
        self._pongs = pongs

    def on_pong(self, _: Peer, pong: Pong) -> None:
        """Keep it."""
        self._pongs.append(pong)


def info(node: Node, address: str) -> dict[str, Any]:
    """What a node says of the peer at an address."""

    def listed() -> dict[str, Any] | None:
        found = [each for each in node.control("getpeerinfo") or () if each["addr"] == address]
        return found[0] if found else None

    return wait_until(f"the node lists {address}", listed)


def probe(node: Node, *options: str) -> dict[str, Any]:
    """Probe a node."""
    address = f"127.0.0.1:{node.port}"
    done = command("probe", "--network", NETWORK.id, address, "--json", *options)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_our_peer_connects_encrypted(a: Node, loop: Loop, peer: Any):
    """And the node says so; messages go both ways."""
    pongs: list[Pong] = []
    ours: Peer = peer(inbound=False, callbacks=Pongs(pongs))
    endpoint = TCP4ClientEndpoint(loop.reactor, "127.0.0.1", a.port, timeout=5)
    loop.call(connectProtocol, endpoint, ours)
    loop.call(ours.when_ready)
    assert ours.session_id is not None
    assert info(a, str(ours.local_address))["v2_connection"] is True
    assert loop.call(lambda: ours.queue_message(Ping(nonce=7))) is True
    wait_until("the pong comes", lambda: Pong(nonce=7) in pongs)


def test_a_node_connects_to_our_peer_encrypted(a: Node, loop: Loop, peer: Any):
    """It begins, and ours answers."""
    ours: Peer = peer(inbound=True)
    port = loop.listen(lambda: ours)
    address = f"127.0.0.1:{port.getHost().port}"
    try:
        a.control("addnode", address, "onetry")
        loop.call(ours.when_ready)
        assert ours.session_id is not None
        assert info(a, address)["v2_connection"] is True
    finally:
        loop.call(port.stopListening)


@pytest.mark.parametrize("transport", ["v2", "auto"])
def test_a_probe_encrypts(a: Node, transport: str):
    """Its answers are those of the node."""
    found = probe(a, "--transport", transport, "--headers", "--ping")
    assert found["transport"] == "v2"
    assert len(bytes.fromhex(found["session_id"])) == 32
    assert found["headers"]["count"] == a.height
    assert found["headers"]["last"] == a.tip


def test_a_probe_of_a_node_that_cannot_encrypt(tmp_path: Path):
    """With `auto` it connects again; with v2 it says what may be wrong."""
    kind = KINDS["btcd"]
    kind.programs()
    node = Node(kind, tmp_path)
    try:
        node.start()
        found = probe(node, "--transport", "auto", "--timeout", "3")
        assert (found["transport"], found["session_id"]) == ("v1", None)
        address = f"127.0.0.1:{node.port}"
        options = ("--transport", "v2", "--timeout", "1")
        done = command("probe", "--network", NETWORK.id, address, *options)
        assert done.returncode == 1
        assert "no handshake" in done.stderr
    finally:
        node.stop()


def test_two_nodes_sync_through_mode_terminate(a: Node, tmp_path: Path):
    """Both connections are encrypted, and the key log has both of them."""
    keys = tmp_path / "keys.log"
    options = ("--transport", "v2", "--key-log", str(keys), "-q")
    proxy = Proxy(NETWORK, a.port, tmp_path / "proxy", *options, kind="terminate")
    b = Node(BTCD26, tmp_path / "b", connect=proxy.port, flags=(ENCRYPTS,))
    try:
        b.start()
        wait_until("B has A's blocks", lambda: b.tip == a.tip, 60)
        pay_and_mine(sender=a, receiver=b, height=5)
        pay_and_mine(sender=b, receiver=a, height=6)
        [b_sees] = b.control("getpeerinfo")
        a_sees = [each for each in a.control("getpeerinfo") if "btcd:0.26.2" in each["subver"]]
        assert [each["v2_connection"] for each in (*a_sees, b_sees)] == [True, True]
        assert proxy.stop() == 0
    finally:
        b.stop()
        proxy.close()
    entries = list(open_capture(proxy.capture))
    assert [each.error for each in entries if each.error is not None] == []
    verdicts = Counter((each.command, each.verdict) for each in entries)
    assert verdicts["version", "inject"] == verdicts["version", "drop"] == 2
    assert verdicts["block", "pass"] >= BLOCKS
    assert "junk" not in proxy.output
    log = KeyLog(keys.read_text().splitlines())
    assert (len(log), log.bad_lines) == (2, [])
    written = proxy.capture.read_bytes() + proxy.output.encode()
    for line in keys.read_text().splitlines():
        secret = line.split()[2]
        assert bytes.fromhex(secret) not in written
        assert secret.encode() not in written


@pytest.fixture
def recorded(a: Node, tmp_path: Path) -> Path:
    """A capture of an encrypted conversation with the node as it is now."""
    proxy = Proxy(NETWORK, a.port, tmp_path / "recorded")
    try:
        address = f"127.0.0.1:{proxy.port}"
        options = ("--transport", "v2", "--headers", "--ping")
        done = command("probe", "--network", NETWORK.id, address, *options)
        assert (done.returncode, done.stderr) == (0, "")
        assert proxy.stop() == 0
    finally:
        proxy.close()
    return proxy.capture


@pytest.mark.parametrize("transport", ["v1", "v2", "auto"])
def test_an_encrypted_conversation_is_replayed(a: Node, recorded: Path, transport: str):
    """With or without encryption, by choice."""
    address = f"127.0.0.1:{a.port}"
    options = ("--transport", transport, "--ignore-heights", "--timeout", "5", "-v")
    done = command("replay", "client", recorded, address, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = [line for line in done.stdout.splitlines() if line.startswith("#1")]
    assert {line.endswith("  v2") for line in shown} == {transport != "v1"}
