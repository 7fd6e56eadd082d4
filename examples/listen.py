#!/usr/bin/env python3
"""Listen as a node that has three blocks, and give their headers to whoever asks.

Usage: python examples/listen.py NETWORK PORT

as `python examples/listen.py lbry-regtest 29246`; examples/headers.py is one who asks. Ctrl-C
ends it. The blocks are made up: no real node will take them.
"""

import sys
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.task import react

from lbcproxy import networks
from lbcproxy.networks import Network
from lbcproxy.peer import Peer, PeerConfig
from lbcproxy.wire import Codec
from lbcproxy.wire.messages.headers import BlockHeader, GetHeaders, Headers

NODE_NETWORK = 1
MOST_PEERS = 20


def blocks_behind_the_first(network: Network, count: int) -> tuple[BlockHeader, ...]:
    """Make up headers, each of which names the one before it."""
    first = Codec(network).decode("headers", b"\1" + network.genesis + b"\0")
    assert isinstance(first, Headers)
    chain = [first.headers[0]]
    for _ in range(count):
        chain.append(msgspec.structs.replace(chain[-1], prev_block=chain[-1].hash))
    return tuple(chain[1:])


class Node(Factory):
    """Makes a peer for each connection, and is the callbacks of all of them."""

    def __init__(self, network: Network, reactor: Any) -> None:
        self.headers = blocks_behind_the_first(network, 3)
        self.reactor = reactor
        self.peers: set[Peer] = set()
        self.config = PeerConfig(
            network=network,
            user_agent_name="listen",
            user_agent_version="1",
            services=NODE_NETWORK,
            newest_block=lambda: (self.headers[-1].hash, len(self.headers)),
        )

    def buildProtocol(self, addr: IAddress | None) -> Peer | None:
        """Make the peer of a connection; None closes it: how many there are is for us to bound."""
        if len(self.peers) >= MOST_PEERS:
            return None
        peer = Peer(self.config, inbound=True, clock=self.reactor, callbacks=self)
        self.peers.add(peer)
        return peer

    def on_ready(self, peer: Peer) -> None:
        """Tell that the handshake is done."""
        print(f"{peer}: {peer.snapshot().user_agent!r}", flush=True)

    def on_getheaders(self, peer: Peer, record: GetHeaders) -> None:
        """Give what we have."""
        peer.send(Headers(self.headers))

    def on_disconnected(self, peer: Peer, why: str) -> None:
        """Forget the peer."""
        self.peers.discard(peer)
        print(f"{peer}: {why}", flush=True)


async def main(reactor: Any, network_id: str, port: str) -> None:
    """Listen until Ctrl-C."""
    node = Node(networks.get(network_id), reactor)
    await TCP4ServerEndpoint(reactor, int(port), interface="127.0.0.1").listen(node)
    print(f"listening at 127.0.0.1:{port}", flush=True)
    await Deferred()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    react(main, sys.argv[1:])
