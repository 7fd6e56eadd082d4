"""A test that asks for more than was recorded. pytest does not find it by itself: name the file."""

import pytest
from lightclient import fetch_block, fetch_chain


@pytest.mark.capture("captures/test_chain/test_first_block.pcapng")
def test_second_block(recorded_node):
    """The capture has the first block."""
    second = fetch_chain(*recorded_node.address)[1]
    fetch_block(*recorded_node.address, second.hash)
