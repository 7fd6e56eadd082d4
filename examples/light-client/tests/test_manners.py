"""Nodes that no recording has: a scripted peer is one, as the test says."""

import asyncio

import pytest
from lightclient import GENESIS, LightClient, Missing, double_sha


def test_the_first_question(scripted_peer):
    """The client asks for what follows on the genesis, and believes that there is nothing."""

    async def main():
        async with await LightClient.connect(*scripted_peer.address) as client:
            chain = asyncio.create_task(client.chain())
            request = await scripted_peer.expect("getheaders", hash_stop=bytes(32))
            assert request.locator == (double_sha(GENESIS),)
            scripted_peer.send("headers", headers=())
            assert await chain == []

    asyncio.run(main())


def test_a_block_that_is_not_there(scripted_peer):
    """The node says so, and the client passes it on."""

    async def main():
        async with await LightClient.connect(*scripted_peer.address) as client:
            block = asyncio.create_task(client.block(bytes(32)))
            request = await scripted_peer.expect("getdata")
            scripted_peer.send("notfound", inventory=request.inventory)
            with pytest.raises(Missing):
                await block

    asyncio.run(main())


def test_a_node_of_another_network(scripted_peer):
    """Bytes that are none of our protocol end the connection."""

    async def main():
        async with await LightClient.connect(*scripted_peer.address) as client:
            scripted_peer.send_bytes(b"nothing that anybody could understand")
            with pytest.raises(ConnectionError, match="does not speak our protocol"):
                await client.chain()

    asyncio.run(main())


@pytest.mark.capture("captures/test_chain/test_chain.pcapng", unknown="notfound")
def test_a_recorded_node_that_lacks_a_block(replayed_node):
    """What is not in the capture may be an answer as well."""

    async def main():
        async with await LightClient.connect(*replayed_node.address) as client:
            with pytest.raises(Missing):
                await client.block(bytes(32))

    asyncio.run(main())
    assert [each.command for each in replayed_node.unknown] == ["getdata"]
