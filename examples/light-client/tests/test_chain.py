"""The chain of a real node, which is in captures/test_chain/ and needs to run no more."""

import pytest
from lightclient import GENESIS, double_sha, fetch_block, fetch_chain


@pytest.mark.capture
def test_chain(recorded_node):
    """Every header follows on the one before; `recorded_node` plays the capture."""
    chain = fetch_chain(recorded_node.host, recorded_node.port)
    assert chain[0].previous == double_sha(GENESIS)
    assert len(chain) > 100


@pytest.mark.capture
def test_first_block(recorded_node):
    """Two connections: each is a session of the capture."""
    first = fetch_chain(*recorded_node.address)[0]
    block = fetch_block(*recorded_node.address, first.hash)
    assert block.startswith(first.raw)


@pytest.mark.capture
@pytest.mark.parametrize("height", [10, 20])
def test_headers_follow_on_any_block(recorded_node, height):
    """Each set of parameters has a capture of its own."""
    chain = fetch_chain(*recorded_node.address)
    assert chain[height].previous == chain[height - 1].hash
