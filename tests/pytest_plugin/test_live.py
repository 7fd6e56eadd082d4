"""A live node, recorded by a test and played without it."""

from __future__ import annotations

import pytest

from tests.nodes import KINDS, Node
from tests.pytest_plugin.projects import outcome

SYNC = """
from lbcproxy import networks
from lbcproxy.wire.hashes import sha256d
from lbcproxy.wire.messages.inventory import InventoryVector, InvType

GENESIS = sha256d(networks.get("bitcoin-regtest").genesis)

@pytest.mark.capture
def test_sync(recorded_node, scripted_peer):
    scripted_peer.connect(*recorded_node.address).result()
    scripted_peer.send("getheaders", version=70016, locator=(GENESIS,), hash_stop=bytes(32))
    headers = scripted_peer.expect("headers").result().headers
    assert len(headers) == 12
    things = tuple(InventoryVector(InvType.BLOCK, each.hash) for each in headers)
    scripted_peer.send("getdata", inventory=things)
    for header in headers:
        block = scripted_peer.expect("block").result()
        assert block.header.hash == header.hash
"""


@pytest.mark.live
def test_a_live_node_is_recorded_and_then_not_needed(project, tmp_path):
    """In each mode that records; the node is gone when the capture is played."""
    node = Node(KINDS["btcd"], tmp_path / "btcd")
    node.start()
    try:
        node.generate(12)
        project.tests(SYNC)
        project.config(network="bitcoin-regtest", upstream=f"127.0.0.1:{node.port}")
        for mode in ("once", "new_episodes", "all", "rewrite"):
            assert outcome(project.run(f"--record-mode={mode}")) == {"passed": 1}
    finally:
        node.stop()
    assert project.captures == ["captures/test_it/test_sync.pcapng"]
    assert outcome(project.run("--block-network")) == {"passed": 1}
