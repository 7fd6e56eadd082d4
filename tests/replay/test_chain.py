"""The recorded chain, of whatever was sent about it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lbcproxy.replay.as_server.chain import BlockChain
from tests.replay.recordings import BITCOIN, blocks_on

NAMES = st.integers(0, 8).map(lambda number: bytes([number]) * 32)


def chain_of(*blocks):
    """A chain that knows some blocks."""
    chain = BlockChain(BITCOIN)
    for block in blocks:
        assert chain.add(block.header.to_bytes()) == block.header.hash
    return chain


def test_the_order_of_telling_does_not_matter():
    """Headers may come before those they stand on."""
    blocks = blocks_on(None, 5)
    hashes = [block.header.hash for block in blocks]
    chain = chain_of(*reversed(blocks))
    assert chain.tip == hashes[-1]
    assert chain.blocks_after([chain.genesis], bytes(32), 10) == hashes
    assert chain.headers(hashes) == [block.header.to_bytes() for block in blocks]


def test_a_recording_may_begin_anywhere():
    """What stands before its first block is known by name; after it the chain goes on."""
    blocks = blocks_on(b"?" * 32, 3)
    hashes = [block.header.hash for block in blocks]
    chain = chain_of(*blocks)
    assert chain.blocks_after([b"?" * 32], bytes(32), 10) == hashes
    assert chain.blocks_after([hashes[0]], hashes[1], 10) == [hashes[1]]
    assert chain.headers([b"?" * 32]) == []
    assert chain.blocks_after([b"!" * 32], bytes(32), 10) is None


def test_what_is_known_by_name_alone_is_named():
    """From an `inv`; there is no header to give."""
    chain = chain_of()
    chain.link(b"a" * 32, chain.genesis)
    chain.link(b"b" * 32, b"a" * 32)
    assert chain.blocks_after([chain.genesis], bytes(32), 10) == [b"a" * 32, b"b" * 32]
    assert chain.headers([b"a" * 32]) == []


def test_an_empty_chain_is_the_first_block():
    """A client that has it learns that there is no more."""
    chain = chain_of()
    assert chain.tip == chain.genesis
    assert chain.blocks_after([chain.genesis], bytes(32), 10) == []
    assert chain.blocks_after([], b"?" * 32, 10) is None


@given(st.lists(st.tuples(NAMES, NAMES)), st.lists(NAMES, min_size=1), NAMES)
def test_received_messages_may_make_no_sense(links, locator, stop):
    """Circles, blocks before themselves: there is an answer, and an end."""
    chain = BlockChain(BITCOIN)
    for block, previous in links:
        chain.link(block, previous)
    found = chain.blocks_after(locator, stop, 5)
    assert found is None or len(set(found)) == len(found) <= 5
    assert chain.tip is not None
